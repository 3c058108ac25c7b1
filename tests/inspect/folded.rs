//! Characters that stand for ASCII ones, in a table of their own.

/// Characters that stand for ASCII ones, in the order of those.
const FOLDED: &[(&str, &str)] = &[
    ("0123456789", "０１２３４５６７８９"),
    ("0123456789", "٠١٢٣٤٥٦٧٨٩"),
    ("0123456789", "۰۱۲۳۴۵۶۷۸۹"),
    ("@+-._()", "＠＋－．＿（）"),
    ("abcdefghijklmnopqrstuvwxyz", "ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ"),
    ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ"),
    ("       ", "\u{a0}\u{2000}\u{2009}\u{200a}\u{202f}\u{205f}\u{3000}"),
    ("----", "\u{2010}\u{2011}\u{2013}\u{2212}"),
];

/// The ASCII character that `char` stands for.
pub fn folded(char: char) -> char {
    let mut pairs = FOLDED.iter().flat_map(|(ascii, others)| ascii.chars().zip(others.chars()));
    pairs.find(|(_, other)| *other == char).map_or(char, |(ascii, _)| ascii)
}

/// Those that stand for the ASCII character `char`.
pub fn unfolded(char: char) -> Vec<char> {
    let pairs = FOLDED.iter().flat_map(|(ascii, others)| ascii.chars().zip(others.chars()));
    pairs.filter(|(ascii, _)| *ascii == char).map(|(_, other)| other).collect()
}
