// Written by `npm run build` in `ui`: name, entity tag, bytes.
&[
    ("assets/mark-BfrF58X6.svg", "\"6558a74ba92810bafecd812190b3f6a6\"", include_bytes!("assets/mark-BfrF58X6.svg")),
    ("assets/ringward-CEcpFN1x.js", "\"4d71a1498e18a8932af0cc165fcb1e64\"", include_bytes!("assets/ringward-CEcpFN1x.js")),
    ("assets/style-DFo3K0a0.css", "\"e748bfed81305b1f6a3e81b6e3266b77\"", include_bytes!("assets/style-DFo3K0a0.css")),
    ("index.html", "\"6566aec8e73d4b769c7fff71c2359072\"", include_bytes!("index.html")),
]
