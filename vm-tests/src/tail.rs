//! The end of a log, for error messages.

/// The last `count` lines of `log`, indented.
pub fn lines(log: &[u8], count: usize) -> String {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    let shown: Vec<String> = lines[lines.len().saturating_sub(count)..]
        .iter()
        .map(|line| format!("    {line}"))
        .collect();
    if shown.is_empty() {
        "    (it is empty)".to_owned()
    } else {
        shown.join("\n")
    }
}
