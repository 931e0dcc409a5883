//! Text from the other side, made fit for a terminal and a log: bounded, and
//! without control characters, which could move the cursor or forge a line.

/// How much of a remote command's standard error is kept, in bytes: some forty
/// lines, enough for a message and a stack of causes.
const STDERR_BYTES_MAX: usize = 4 * 1024;

/// The last part of a remote command's standard error.
#[derive(Debug, Default)]
pub(super) struct StderrTail {
    bytes: Vec<u8>,
    cut: bool,
}

impl StderrTail {
    /// Appends `data` and forgets what is too old.
    pub(super) fn push(&mut self, data: &[u8]) {
        let fresh = &data[data.len().saturating_sub(STDERR_BYTES_MAX)..];
        let surplus = (self.bytes.len() + fresh.len()).saturating_sub(STDERR_BYTES_MAX);
        self.cut |= surplus > 0 || fresh.len() < data.len();
        self.bytes.drain(..surplus);
        self.bytes.extend_from_slice(fresh);
    }

    /// The text, printable; it begins with `…` if something was forgotten.
    pub(super) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let text = printable(text.trim_end());
        if self.cut { format!("…{text}") } else { text }
    }
}

/// `text` with every control character escaped except the line feed, which
/// separates the lines of a message.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // The bidirectional controls reorder what a terminal shows.
        let reorders = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c != '\n' && (c.is_control() || reorders) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// [`printable`] on one line and cut after `chars_max` characters.
pub(super) fn printable_line(text: &str, chars_max: usize) -> String {
    let mut line: String = text.chars().take(chars_max).collect();
    if line.len() < text.len() {
        line.push('…');
    }
    printable(&line).replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_last_bytes_and_says_that_it_forgot_some() {
        let mut tail = StderrTail::default();
        tail.push(&vec![b'a'; STDERR_BYTES_MAX]);
        assert_eq!(tail.text().len(), STDERR_BYTES_MAX);
        tail.push(b"the cause\n");
        let text = tail.text();
        assert!(
            text.starts_with('…') && text.ends_with("the cause"),
            "{text}"
        );
        assert_eq!(tail.bytes.len(), STDERR_BYTES_MAX);
        tail.push(&vec![b'b'; 3 * STDERR_BYTES_MAX]);
        assert_eq!(tail.bytes, vec![b'b'; STDERR_BYTES_MAX]);
    }

    #[test]
    fn escape_sequences_and_bidirectional_controls_become_text() {
        assert_eq!(
            printable("a\u{1b}[2Jb\r\nc\u{202e}d"),
            "a\\u{1b}[2Jb\\r\nc\\u{202e}d"
        );
        assert_eq!(printable_line("one\ntwo three", 7), "one\\ntwo…");
    }
}
