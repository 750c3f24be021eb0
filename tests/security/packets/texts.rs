//! Texts that are none (OASIS MQTT 5.0, section 1.5.4; RFC 3629).

/// By name.
pub(crate) const BAD: [(&str, &[u8]); 10] = [
    ("a zero byte", b"a\0b"),
    ("an overlong slash", b"a\xC0\xAFb"),
    ("an overlong zero", b"a\xC0\x80b"),
    ("an overlong letter of three bytes", b"a\xE0\x81\xA1b"),
    ("half a surrogate pair", b"a\xED\xA0\x80b"),
    ("a whole surrogate pair", b"\xED\xA1\x8C\xED\xBE\xB4"),
    ("a letter cut off", b"a\xE2\x82"),
    ("the end of a letter", b"\x82a"),
    ("beyond the last letter", b"\xF4\x90\x80\x80"),
    ("a byte that never is", b"a\xFFb"),
];
