// Written by `npm run build` in `ui`: name, entity tag, bytes.
&[
    ("assets/mark-BfrF58X6.svg", "\"6558a74ba92810bafecd812190b3f6a6\"", include_bytes!("assets/mark-BfrF58X6.svg")),
    ("assets/ringward-BNz8GTLZ.js", "\"e340a2ba5f5963b686361486b7cc54e9\"", include_bytes!("assets/ringward-BNz8GTLZ.js")),
    ("assets/style-DFo3K0a0.css", "\"e748bfed81305b1f6a3e81b6e3266b77\"", include_bytes!("assets/style-DFo3K0a0.css")),
    ("index.html", "\"c6a524604947be0b6b8fb72360680b7e\"", include_bytes!("index.html")),
]
