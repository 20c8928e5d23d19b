//! GUIDs as text: `8-4-4-4-12` hexadecimal digits.

use alloc::string::String;

/// Whether a text is a GUID, in either case.
pub fn is_guid(text: &str) -> bool {
    let digits = |index| matches!(index, 8 | 13 | 18 | 23);
    text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(index, byte)| if digits(index) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}

/// A random GUID (version 4), lower case, from 16 random bytes. Source: RFC 9562 section 5.4.
pub fn random_guid(mut random: [u8; 16]) -> String {
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (index, byte) in random.into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 0x0f] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_become_a_guid_of_version_four() {
        assert_eq!(random_guid([0; 16]), "00000000-0000-4000-8000-000000000000");
        assert_eq!(random_guid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert!(is_guid(&random_guid(*b"0123456789abcdef")));
    }

    #[test]
    fn only_the_one_form_is_a_guid() {
        assert!(is_guid("01234567-89aB-CDef-0123-456789abcdef"));
        for text in [
            "",
            "0123456789abcdef0123456789abcdef0123",
            "{1234567-89ab-cdef-0123-456789abcdef",
            "01234567-89ab-cdef-0123-456789abcde",
            "01234567-89ab-cdef-0123-456789abcdefa",
            "0123456789-ab-cdef-0123-456789abcdef",
            "01234567-89ab-cdef-0123-456789abcdeg",
            "ä123456-89ab-cdef-0123-456789abcdef",
        ] {
            assert!(!is_guid(text), "{text}");
        }
    }
}
