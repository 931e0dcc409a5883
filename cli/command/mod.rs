//! The commands, one file each.
//!
//! Between the command line and the engine: a command checks what options mean
//! together, opens conversations, calls the engine, and returns what came of
//! it. None of them prints.

pub mod config;
pub mod helper;
pub mod holds;
pub mod image;
pub mod inspect;
mod legacy;
pub mod listen;
pub mod replicate;
pub mod status;
pub mod sync;
pub mod version;

use engine::error::Family;
use engine::image::{self as engine_image, Image};
use engine::sync::config::NodeName;

use crate::args::{Command, Global};
use crate::environment;
use crate::failure::Failure;
use crate::image_remedies::reworded;
use crate::output::{Console, Outcome};

/// What every command may need.
pub struct Context {
    /// Options of all commands.
    pub global: Global,
    /// Where to say things.
    pub console: Console,
}

impl Context {
    /// The name of this machine in messages.
    pub fn node_text(&self) -> String {
        match &self.global.node {
            Some(node) => node.to_string(),
            None => environment::host_name(),
        }
    }

    /// The name of this machine as configuration files have it.
    fn node(&self) -> Result<NodeName, Failure> {
        if let Some(node) = &self.global.node {
            return Ok(node.clone());
        }
        NodeName::parse(&environment::host_name()).map_err(|error| {
            Failure::of(Family::Usage, &error)
                .remedy("say with --node how the configuration calls this machine")
        })
    }
}

impl Context {
    /// The images that the command line names, with absolute paths.
    fn images(&self) -> Result<Vec<Image>, Failure> {
        self.images_with(Vec::new())
    }

    /// The same, and `more`; about one pool the command line has the last word.
    fn images_with(&self, more: Vec<Image>) -> Result<Vec<Image>, Failure> {
        let mistake = |error: engine_image::ImageError| Failure::of(Family::Usage, &error);
        let mut images = Vec::new();
        for image in &self.global.image {
            let file = std::path::absolute(image.file())
                .map_err(|error| Failure::of(Family::Failed, &error))?;
            let image = Image::new(image.pool().clone(), file).map_err(mistake)?;
            engine_image::join(&mut images, [image]).map_err(mistake)?;
        }
        let named: Vec<_> = images.iter().map(|image| image.pool().clone()).collect();
        let more = more
            .into_iter()
            .filter(|image| !named.contains(image.pool()));
        engine_image::join(&mut images, more).map_err(mistake)?;
        Ok(images)
    }
}

/// Runs `work`, which waits for a file or a worker, on a thread that may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .expect("a failure of the work is a value")
}

/// Runs a command to its end.
pub async fn run(context: &Context, command: Command) -> Result<Outcome, Failure> {
    let result = match command {
        Command::Replicate(args) => replicate::run(context, args).await,
        Command::Sync(args) => sync::run(context, args).await,
        Command::Status(args) => status::run(context, &args).await,
        Command::Config(args) => config::run(context, args).await,
        Command::Images(args) => image::run(context, args).await,
        Command::Holds(args) => holds::run(context, args).await,
        Command::Inspect(args) => inspect::run(context, args).await,
        Command::Helper(args) => helper::run(context, args).await,
        Command::Listen(args) => listen::run(context, args).await,
    };
    reworded(result, &context.images().unwrap_or_default())
}
