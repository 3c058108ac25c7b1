// Written by `npm run build` in `ui`: name, entity tag, bytes.
&[
    ("assets/mark-BfrF58X6.svg", "\"6558a74ba92810bafecd812190b3f6a6\"", include_bytes!("assets/mark-BfrF58X6.svg")),
    ("assets/ringward-D4xqtx5g.js", "\"370bcc42e3029666865a918a6571bc78\"", include_bytes!("assets/ringward-D4xqtx5g.js")),
    ("assets/style-DFo3K0a0.css", "\"e748bfed81305b1f6a3e81b6e3266b77\"", include_bytes!("assets/style-DFo3K0a0.css")),
    ("index.html", "\"8a4a4f51ce47d4ccfa48db45a76f7c88\"", include_bytes!("index.html")),
]
