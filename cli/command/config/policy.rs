//! What a sender does with a resource beside sending it: names, schedule,
//! policies, commands.

use engine::sync::attempts::{Attempts, civil};
use engine::sync::config::{Resource, SyncAction, duration_text};
use engine::sync::schedule::Due;
use serde_json::{Value, json};

use crate::environment;

/// A setting by its keyword, its value for people and for programs.
struct Setting {
    keyword: String,
    text: String,
    value: Value,
}

/// The lines for people.
pub fn text(resource: &Resource, attempts: &Attempts) -> String {
    let mut text = String::new();
    for setting in settings(resource) {
        text += &format!("  {}: {}\n", setting.keyword, setting.text);
    }
    let due = match due(resource, attempts) {
        Some(Due::Now) => "now".to_owned(),
        Some(Due::NotYet(Some(next))) => format!("{} {}", next.date(), next.time()),
        Some(Due::NotYet(None)) | None => "never".to_owned(),
    };
    text + &format!("  due: {due}\n")
}

/// Adds the same to the object of the resource.
pub fn add(value: &mut Value, resource: &Resource, attempts: &Attempts) {
    for setting in settings(resource) {
        value[setting.keyword] = setting.value;
    }
    let due = due(resource, attempts);
    value["due_now"] = json!(due == Some(Due::Now));
    value["due_local"] = match due {
        Some(Due::NotYet(Some(next))) => json!(next.to_string()),
        _ => Value::Null,
    };
}

/// As `sync all` would see it, if it looked now.
fn due(resource: &Resource, attempts: &Attempts) -> Option<Due> {
    let zone = environment::zone();
    let now = civil(environment::now(), &zone)?;
    Some(resource.schedule.is_due(now, &attempts.past(&zone)))
}

fn settings(resource: &Resource) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut add = |keyword: &str, text: String, value: Value| {
        settings.push(Setting {
            keyword: keyword.to_owned(),
            text,
            value,
        });
    };
    let names = &resource.names;
    add(
        "snapshots",
        format!("@{} @{} @{}", names.sent, names.tosend, names.aside),
        json!({
            "sent": names.sent.as_str(),
            "tosend": names.tosend.as_str(),
            "aside": names.aside.as_str(),
        }),
    );
    for (keyword, flag) in [
        ("recursive", resource.recursive),
        ("intermediary", resource.intermediary),
        ("hold_base", resource.hold_base),
    ] {
        add(keyword, flag.to_string(), flag.into());
    }
    let max_delay = resource.sync_max_delay;
    add(
        "sync_max_delay",
        duration_text(max_delay),
        max_delay.as_secs().into(),
    );
    if let Some(timeout) = resource.timeout {
        add("timeout", duration_text(timeout), timeout.as_secs().into());
    }
    let stall = Some(resource.stall_timeout);
    for (keyword, time) in [("retry_for", resource.retry_for), ("stall_timeout", stall)] {
        if let Some(time) = time {
            add(keyword, duration_text(time), time.as_secs().into());
        }
    }
    if let Some(limit) = &resource.bandwidth_limit {
        add("bandwidth_limit", limit.to_string(), limit.as_str().into());
    }
    for (keyword, word) in [
        ("keep_old", resource.keep_old.as_str()),
        ("rollback", resource.on_modified.as_str()),
        ("schedule", resource.schedule.as_str()),
    ] {
        add(keyword, word.to_owned(), word.into());
    }
    if !resource.tags.is_empty() {
        let tags: Vec<&str> = resource.tags.iter().map(String::as_str).collect();
        add("tags", tags.join(" "), json!(tags));
    }
    if let Some(subset) = &resource.subset {
        add("subset", subset.clone(), json!(subset));
    }
    if let Some(path) = &resource.legacy_state {
        add("legacy_state", path.display().to_string(), json!(path));
    }
    for (keyword, argv) in commands(resource) {
        add(&keyword, command_text(argv), json!(argv));
    }
    for action in SyncAction::ALL {
        let of_action = resource.requires.iter().filter(|one| one.action == action);
        let conditions: Vec<String> = of_action.map(ToString::to_string).collect();
        if !conditions.is_empty() {
            let keyword = format!("sync_{action}_requires");
            add(&keyword, conditions.join(" "), json!(conditions));
        }
    }
    settings
}

/// Every command of the resource, under its keyword.
fn commands(resource: &Resource) -> Vec<(String, &[String])> {
    let mut commands = Vec::new();
    for (keyword, argv) in [
        ("active_check", &resource.active_check),
        ("presnap_trigger", &resource.presnap_trigger),
        ("postsnap_trigger", &resource.postsnap_trigger),
        ("alert_command", &resource.alert_command),
    ] {
        let argv = argv.as_deref();
        commands.extend(argv.map(|argv| (keyword.to_owned(), argv)));
    }
    for (action, when, trigger) in resource.triggers.iter() {
        let blocking = if trigger.blocking { "blocking_" } else { "" };
        let keyword = format!("{blocking}{}_sync_{action}", when.as_str());
        commands.push((keyword, &trigger.argv));
    }
    commands
}

/// The words of a command, each in quotes if it is more than a word.
fn command_text(argv: &[String]) -> String {
    let quoted = |word: &String| {
        let is_plain = !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c));
        if is_plain {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    let words: Vec<String> = argv.iter().map(quoted).collect();
    words.join(" ")
}
