// Written by `npm run build` in `ui`: name, entity tag, bytes.
&[
    ("assets/mark-BfrF58X6.svg", "\"6558a74ba92810bafecd812190b3f6a6\"", include_bytes!("assets/mark-BfrF58X6.svg")),
    ("assets/ringward-291TLu8G.js", "\"3ce26543048ad436f200b429f9714ed4\"", include_bytes!("assets/ringward-291TLu8G.js")),
    ("assets/style-DFo3K0a0.css", "\"e748bfed81305b1f6a3e81b6e3266b77\"", include_bytes!("assets/style-DFo3K0a0.css")),
    ("index.html", "\"6f2e789a76d91083b0cf1e448b1b813a\"", include_bytes!("index.html")),
]
