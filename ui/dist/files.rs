// Written by `npm run build` in `ui`: name, entity tag, bytes.
&[
    ("assets/mark-BfrF58X6.svg", "\"6558a74ba92810bafecd812190b3f6a6\"", include_bytes!("assets/mark-BfrF58X6.svg")),
    ("assets/ringward-p5x7NnUA.js", "\"34dfda6c22cce8bbf25f68d54b3aae2a\"", include_bytes!("assets/ringward-p5x7NnUA.js")),
    ("assets/style-B9zHPRD0.css", "\"cacd49fce27d1386f42072960c90312c\"", include_bytes!("assets/style-B9zHPRD0.css")),
    ("index.html", "\"7c446da54724367cf19e718123b50032\"", include_bytes!("index.html")),
]
