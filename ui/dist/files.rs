// Written by `npm run build` in `ui`: name, entity tag, bytes.
&[
    ("assets/mark-BfrF58X6.svg", "\"6558a74ba92810bafecd812190b3f6a6\"", include_bytes!("assets/mark-BfrF58X6.svg")),
    ("assets/ringward-B-XcRePT.js", "\"9bd87c74a303678edb54c6d7a9506f19\"", include_bytes!("assets/ringward-B-XcRePT.js")),
    ("assets/style-DY4KNrwf.css", "\"0bfcc9c5ee50b1bced9e1045037c9afb\"", include_bytes!("assets/style-DY4KNrwf.css")),
    ("index.html", "\"f4301507493c48ba985cee8a1fe5a5f9\"", include_bytes!("index.html")),
]
