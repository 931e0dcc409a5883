//! The command that starts a helper on another machine.
//!
//! Images of that machine become arguments of the command, for its shell to
//! take apart. A key that is bound to a command of its own (`command=` in
//! authorized_keys) starts that one whatever is asked for: which files are
//! opened there, the owner of that machine has decided. Whether the helper that
//! answers serves what was asked for, it says in its greeting; see `connect`.

use engine::image::Image;

/// What is started on another machine unless somebody says otherwise.
const DEFAULT: &str = "zferry helper";

/// `command`, or the customary one, for a helper that serves `images` too.
pub fn compose(command: Option<&str>, images: &[Image]) -> String {
    let mut text = command.unwrap_or(DEFAULT).to_owned();
    for image in images {
        text += " --image ";
        text += &quoted(&image.to_string());
    }
    text
}

/// `word` as one word of a POSIX shell. Within single quotes nothing has a
/// meaning but the quote itself.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn images_are_arguments_of_the_command_whoever_names_it() {
        let images: Vec<Image> = ["tank=/i/t.img", "b=/i/b.img"]
            .map(|text| text.parse().unwrap())
            .into();
        assert_eq!(
            compose(None, &images),
            "zferry helper --image tank=/i/t.img --image b=/i/b.img"
        );
        assert_eq!(compose(Some("sudo z helper"), &[]), "sudo z helper");
    }

    #[test]
    fn a_shell_gives_back_every_word_as_it_was() {
        for word in [
            "tank=/a b",
            "tank=/a'b",
            "tank=/$(reboot)",
            "tank=/`id`;x|y&z>w<v",
            "tank=/\\\"*?~#!{a,b}",
            "tank='' '",
            "-n",
            "",
        ] {
            let script = format!("printf '%s|' {}", quoted(word));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(
                String::from_utf8(output.stdout).unwrap(),
                format!("{word}|")
            );
        }
    }
}
