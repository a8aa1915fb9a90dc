//! Base64 as it comes in addresses: either alphabet, with or without padding.

/// The bytes of a text; `None` when it is not base64.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    // Browsers may write padding as an escape.
    let text = text.strip_suffix("%3D%3D").or_else(|| text.strip_suffix("%3D")).unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut held, mut bits) = (0_u32, 0_u32);
    for byte in text.bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        held = (held << 6) | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    // One letter alone holds no byte.
    (text.len() % 4 != 1 && held == 0).then_some(bytes)
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
