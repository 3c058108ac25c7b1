//! The reader of encrypted segments.

use ringward::segments::{Decryptor, Encryptor, Identity, Recipient};
use std::io::{self, Read, Write};

/// A pair that nobody uses for anything else; the corpus is encrypted to it.
const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
const RECIPIENT: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

/// Any bytes are read or refused. What is encrypted here and then changed in one byte, or cut, is refused,
/// and what was read of it until then is the beginning of what was encrypted.
pub fn file(data: &[u8]) {
    let identity: Identity = IDENTITY.parse().expect("an identity");
    let identities = std::slice::from_ref(&identity);
    drop(read(data, identities));
    let Some((&[high, low, change], plain)) = data.split_first_chunk() else { return };
    let recipient: Recipient = RECIPIENT.parse().expect("a recipient");
    let mut encryptor = Encryptor::new(Vec::new(), &[recipient]).expect("memory is written");
    encryptor.write_all(plain).expect("memory is written");
    let mut file = encryptor.finish().expect("memory is written");
    assert_eq!(read(&file, identities).0, plain);
    let place = usize::from(u16::from_be_bytes([high, low])) % file.len();
    match change {
        0 => file.truncate(place),
        change => file[place] ^= change,
    }
    let (begun, result) = read(&file, identities);
    assert!(result.is_err(), "byte {place} of the file was changed");
    assert!(plain.starts_with(&begun), "what is not authentic is given to nobody");
}

/// What comes out, and whether all of it did.
fn read(file: &[u8], identities: &[Identity]) -> (Vec<u8>, io::Result<()>) {
    let mut plain = Vec::new();
    let result = Decryptor::new(file, identities).and_then(|mut input| input.read_to_end(&mut plain));
    (plain, result.map(drop))
}
