//! Characters that stand for ASCII ones, and those that nobody sees, in tables of their own.

/// Characters that stand for ASCII ones, in the order of those.
const FOLDED: &[(&str, &str)] = &[
    ("0123456789", "０１２３４５６７８９"),
    ("0123456789", "٠١٢٣٤٥٦٧٨٩"),
    ("0123456789", "۰۱۲۳۴۵۶۷۸۹"),
    ("@+-._()", "＠＋－．＿（）"),
    ("abcdefghijklmnopqrstuvwxyz", "ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ"),
    ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ"),
    ("        ", "\u{a0}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}"),
    ("       ", "\u{2007}\u{2008}\u{2009}\u{200a}\u{202f}\u{205f}\u{3000}"),
    ("-------", "\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}\u{2015}\u{2212}"),
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

/// Characters that nobody sees, first and last of each range: `Default_Ignorable_Code_Point` of Unicode 16.
const INVISIBLE: &[(u32, u32)] = &[
    (0x00ad, 0x00ad),
    (0x034f, 0x034f),
    (0x061c, 0x061c),
    (0x115f, 0x1160),
    (0x17b4, 0x17b5),
    (0x180b, 0x180f),
    (0x200b, 0x200f),
    (0x202a, 0x202e),
    (0x2060, 0x206f),
    (0x3164, 0x3164),
    (0xfe00, 0xfe0f),
    (0xfeff, 0xfeff),
    (0xffa0, 0xffa0),
    (0xfff0, 0xfff8),
    (0x1bca0, 0x1bca3),
    (0x1d173, 0x1d17a),
    (0xe0000, 0xe0fff),
];

/// Invisible characters that are left out between two places of a text, besides one for each byte there.
pub const INVISIBLE_MAX: usize = 128;

/// Whether nobody sees `char`.
pub fn is_invisible(char: char) -> bool {
    INVISIBLE.iter().any(|(first, last)| (*first..=*last).contains(&(char as u32)))
}

/// One that nobody sees: of each range as often as of any other.
pub fn invisible(seed: u64) -> char {
    let (first, last) = INVISIBLE[seed as usize % INVISIBLE.len()];
    let code = first + (seed >> 32) as u32 % (last + 1 - first);
    char::from_u32(code).expect("no surrogates in between")
}

/// Every character that nobody sees.
pub fn invisibles() -> impl Iterator<Item = char> {
    INVISIBLE.iter().flat_map(|(first, last)| *first..=*last).filter_map(char::from_u32)
}
