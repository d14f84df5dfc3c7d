//! Small values as they are written in a case: addresses, bytes, times.

use std::net::Ipv4Addr;

pub(crate) fn address(text: &str) -> Result<Ipv4Addr, String> {
    text.trim().parse().map_err(|_| format!("'{text}' is not an address"))
}

pub(crate) fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("'{text}' is not a number that fits"))
}

/// Bytes in hexadecimal, with or without colons or spaces between them.
pub(crate) fn hexadecimal(text: &str) -> Result<Vec<u8>, String> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | ' ')).collect();
    if !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return Err(format!("'{text}' is not hexadecimal"));
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16))
        .collect::<Result<_, _>>()
        .map_err(|_| format!("'{text}' is not hexadecimal"))
}

pub(crate) fn shown_hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `30s`, `2m`, `1h`, or `500ms`, in milliseconds.
pub(crate) fn milliseconds(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("'{text}' is not a time")),
    };
    Ok(number::<u64>(digits)? * factor)
}
