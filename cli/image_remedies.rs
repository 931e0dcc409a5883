//! Ways out in the words of zfs(8), said again for pools in files.
//!
//! The engine tells what to do with the commands that everybody knows; where
//! the pool is one of this process' images these do not see it, and zferry has
//! commands of its own.

use engine::image::Image;

use crate::failure::Failure;
use crate::output::Outcome;

/// Commands of zfs(8) and what takes their place.
const COMMANDS: [(&str, &str); 5] = [
    ("zfs rollback ", "rollback "),
    ("zfs rename ", "rename "),
    ("zfs receive -A ", "abort "),
    ("zfs destroy ", "destroy "),
    ("zfs list -r ", "list "),
];

/// Nobody mounts what is in an image, so nobody changes it by accident.
const KEEP_UNCHANGED: &str = "; then keep it unchanged: zfs set readonly=on ";

/// The same result, with ways out that work on `images`.
pub fn reworded(result: Result<Outcome, Failure>, images: &[Image]) -> Result<Outcome, Failure> {
    match result {
        Ok(mut outcome) => {
            for failure in &mut outcome.failures {
                reword(failure, images);
            }
            Ok(outcome)
        }
        Err(mut failure) => {
            reword(&mut failure, images);
            Err(failure)
        }
    }
}

fn reword(failure: &mut Failure, images: &[Image]) {
    for remedy in &mut failure.remedies {
        for image in images {
            *remedy = of_image(remedy, image);
        }
    }
}

fn of_image(remedy: &str, image: &Image) -> String {
    let mut text = remedy.to_owned();
    for (theirs, ours) in COMMANDS {
        let mut from = 0;
        while let Some(found) = text[from..].find(theirs) {
            let at = from + found;
            let object = &text[at + theirs.len()..];
            from = at + 1;
            let rest = object.strip_prefix(image.pool().as_str());
            // Of this pool, and not of one whose name begins alike.
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '@', ' ', ';'])) {
                text.replace_range(
                    at..at + theirs.len(),
                    &format!("zferry --image {image} image {ours}"),
                );
                if let Some(at) = text.find(KEEP_UNCHANGED) {
                    text.truncate(at);
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_out_of_an_image_are_commands_that_reach_it() {
        let image: Image = "tank=/x/tank.img".parse().unwrap();
        for (theirs, ours) in [
            (
                "if these changes may be lost, on the target: zfs rollback tank/v@a; then keep it \
                 unchanged: zfs set readonly=on tank/v",
                "if these changes may be lost, on the target: zferry --image tank=/x/tank.img \
                 image rollback tank/v@a",
            ),
            (
                "give it up: zfs receive -A tank/v",
                "give it up: zferry --image tank=/x/tank.img image abort tank/v",
            ),
            (
                "see what there is: zfs list -r tank",
                "see what there is: zferry --image tank=/x/tank.img image list tank",
            ),
            ("zfs rollback tank2/v@a", "zfs rollback tank2/v@a"),
            ("zfs load-key tank/v", "zfs load-key tank/v"),
        ] {
            assert_eq!(of_image(theirs, &image), ours);
        }
    }
}
