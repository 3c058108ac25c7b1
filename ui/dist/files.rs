// Written by `npm run build` in `ui`: name, entity tag, bytes.
&[
    ("assets/mark-BfrF58X6.svg", "\"6558a74ba92810bafecd812190b3f6a6\"", include_bytes!("assets/mark-BfrF58X6.svg")),
    ("assets/ringward-DL3z0LkF.js", "\"3304bd9af45a2a1d5a41ecd3611dd135\"", include_bytes!("assets/ringward-DL3z0LkF.js")),
    ("assets/style-B9zHPRD0.css", "\"cacd49fce27d1386f42072960c90312c\"", include_bytes!("assets/style-B9zHPRD0.css")),
    ("index.html", "\"dea5dcffa1e6bb4feac7f0f8f0d32c0a\"", include_bytes!("index.html")),
]
