//! `zferry config check`: all mistakes of all files at once.

use std::path::PathBuf;

use engine::error::Family;
use engine::sync::config::{ConfigError, Mistake, Notice, Place, Service, ServiceName, crossings};
use serde_json::{Value, json};

use crate::args::config::Check;
use crate::command::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Outcome;

/// What is found in one file.
struct Found {
    service: ServiceName,
    file: PathBuf,
    mistakes: Vec<Mistake>,
    notices: Vec<Notice>,
    /// Why the file could not be judged at all.
    unread: Option<(Family, String)>,
}

/// Runs the command.
pub fn run(context: &Context, args: &Check) -> Result<Outcome, Failure> {
    let dir = &context.global.config;
    let names = match args.services.as_slice() {
        [] => Service::list(dir)?,
        names => names.to_vec(),
    };
    if names.is_empty() {
        let text = format!("no service is configured in {} (NAME.conf)", dir.display());
        context.console.notice(&text);
    }
    let mut services = Vec::new();
    let mut found = Vec::new();
    for name in names {
        let file = dir.join(format!("{name}.conf"));
        let mut one = Found {
            service: name.clone(),
            file,
            mistakes: Vec::new(),
            notices: Vec::new(),
            unread: None,
        };
        match Service::load(dir, &name) {
            Ok(service) => {
                one.notices = service.notices().to_vec();
                one.notices.extend(not_listed(context, &service));
                services.push(service);
            }
            Err(ConfigError::Mistakes { mistakes, .. }) => one.mistakes = mistakes,
            Err(error) => {
                let failure = Failure::of(error.family(), &error);
                let text = std::iter::once(failure.message).chain(failure.causes);
                let text = text.collect::<Vec<_>>().join(": ");
                one.unread = Some((failure.family, text));
            }
        }
        found.push(one);
    }
    for crossing in crossings(&services) {
        let of_service = found.iter_mut().find(|one| one.service == crossing.service);
        if let Some(one) = of_service {
            one.mistakes.push(crossing.mistake);
        }
    }
    let exits = found.iter().filter_map(|one| match &one.unread {
        Some((family, _)) => Some(*family),
        None => (!one.mistakes.is_empty()).then_some(Family::Usage),
    });
    Ok(Outcome {
        exit: Exit::worst(exits),
        human: found.iter().map(text).collect(),
        json: json!({ "services": found.iter().map(value).collect::<Vec<_>>() }),
        failures: Vec::new(),
    })
}

/// A machine may keep the files of services that it has no part in; where that
/// is not meant, the name of the machine is spelled in another way.
fn not_listed(context: &Context, service: &Service) -> Option<Notice> {
    let node = context.node().ok()?;
    let error = service.resolve(&node).err()?;
    Some(Notice {
        place: Place::default(),
        text: error.to_string(),
    })
}

fn text(one: &Found) -> String {
    let verdict = match (&one.unread, one.mistakes.len()) {
        (Some((_, why)), _) => why.clone(),
        (None, 0) => "ok".to_owned(),
        (None, 1) => "1 mistake".to_owned(),
        (None, count) => format!("{count} mistakes"),
    };
    let mut text = format!("{}: {verdict}\n", one.service);
    let file = one.file.display();
    for mistake in &one.mistakes {
        text += &format!("  {file}: {mistake}\n");
    }
    for notice in &one.notices {
        text += &format!("  note: {file}: {notice}\n");
    }
    text
}

fn value(one: &Found) -> Value {
    let mistake = |mistake: &Mistake| {
        let mut value = place_value(&mistake.place);
        value["kind"] = json!(mistake.kind);
        value["problem"] = json!(mistake.problem);
        value["remedy"] = json!(mistake.remedy);
        value
    };
    let notice = |notice: &Notice| {
        let mut value = place_value(&notice.place);
        value["text"] = json!(notice.text);
        value
    };
    json!({
        "service": one.service.as_str(),
        "file": one.file.display().to_string(),
        "error": one.unread.as_ref().map(|(_, text)| text),
        "mistakes": one.mistakes.iter().map(mistake).collect::<Vec<_>>(),
        "notices": one.notices.iter().map(notice).collect::<Vec<_>>(),
    })
}

fn place_value(place: &Place) -> Value {
    json!({ "line": place.line, "section": place.section, "keyword": place.keyword })
}
