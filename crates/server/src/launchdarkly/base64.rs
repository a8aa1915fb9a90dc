//! Base64 as it comes in addresses: either alphabet, with or without padding.

use data_encoding::BASE64URL_NOPAD;

/// The bytes of a text; `None` when it is not base64.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    // Browsers may write padding as an escape.
    let text = text.strip_suffix("%3D%3D").or_else(|| text.strip_suffix("%3D")).unwrap_or(text);
    BASE64URL_NOPAD.decode(text.replace('+', "-").replace('/', "_").as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_alphabets_with_and_without_padding() {
        for (text, expected) in [
            ("eyJrZXkiOiJ1MSJ9", Some(&b"{\"key\":\"u1\"}"[..])),
            ("eyJrIjoxfQ==", Some(b"{\"k\":1}")),
            ("eyJrIjoxfQ", Some(b"{\"k\":1}")),
            ("-_8", Some(&[0xfb, 0xff])),
            ("+/8=", Some(&[0xfb, 0xff])),
            ("", Some(b"")),
            ("a", None),
            ("a b", None),
            ("eyJrIjoxf$", None),
        ] {
            assert_eq!(decode(text).as_deref(), expected, "{text}");
        }
    }
}
