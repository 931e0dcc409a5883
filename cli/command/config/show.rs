//! `zferry config show`: what a node would do for a service.

use std::collections::BTreeMap;

use engine::sync::attempts::{AttemptStore, Attempts};
use engine::sync::config::{
    Connection, ENV_PRODUCTION, NodeName, Reception, Resource, Role, Service, Target, TargetKind,
    Topology,
};
use serde_json::{Value, json};

use super::policy;
use crate::args::config::Show;
use crate::command::{Context, blocking};
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Outcome;
use crate::zfs::Machine;

/// Runs the command.
pub async fn run(context: &Context, args: &Show) -> Result<Outcome, Failure> {
    let node = context.node()?;
    let service = Service::load(&context.global.config, &args.service)?;
    for notice in service.notices() {
        let file = service.file().display();
        context.console.notice(&format!("{file}: {notice}"));
    }
    let refused = |error: engine::sync::config::ResolveError| Failure::of(error.family(), &error);
    service.resolve(&node).map_err(refused)?;
    let service = with_mounts(context, &node, service).await?;
    let shown = Shown {
        resources: service.resolve(&node).map_err(refused)?,
        receptions: service.receives_for(&node).map_err(refused)?,
        attempts: AttemptStore::new(&context.global.state),
        service: &service,
        node: &node,
    };
    Ok(Outcome {
        exit: Exit::Done,
        human: shown.text(),
        json: shown.value(),
        failures: Vec::new(),
    })
}

/// Asks ZFS of this machine what is mounted where; what cannot be asked stays
/// a mount point, and that is said.
async fn with_mounts(
    context: &Context,
    node: &NodeName,
    service: Service,
) -> Result<Service, Failure> {
    let points = service.mount_points(node);
    if points.is_empty() {
        return Ok(service);
    }
    let here = environment::host_name();
    if node.as_str() != here {
        let text = format!("mount points are not looked up: this machine is {here}, not {node}");
        context.console.notice(&text);
        return Ok(service);
    }
    let machine = Machine::new(context.images_with(service.images(node))?);
    let zfs = match machine.open().await {
        Ok(zfs) => zfs,
        Err(error) => {
            let text = format!("mount points are not looked up: {error}");
            context.console.notice(&text);
            return Ok(service);
        }
    };
    let found = blocking(move || {
        let ask = |path: std::path::PathBuf| match zfs.dataset_mounted_at(&path) {
            Ok(dataset) => Ok((path, dataset)),
            Err(error) => Err(error),
        };
        let points = points.into_iter();
        points.map(|point| ask(point.path)).collect::<Vec<_>>()
    })
    .await;
    let mut mounted = BTreeMap::new();
    for answer in found {
        match answer {
            Ok((path, Some(dataset))) => {
                mounted.insert(path, dataset);
            }
            Ok((path, None)) => {
                let text = format!("no dataset is mounted at {}", path.display());
                context.console.notice(&text);
            }
            Err(error) => context.console.notice(&error.to_string()),
        }
    }
    Ok(service.with_mounts(node, &mounted)?)
}

/// What is shown.
struct Shown<'a> {
    service: &'a Service,
    node: &'a NodeName,
    resources: Vec<Resource>,
    receptions: Vec<Reception>,
    attempts: AttemptStore,
}

impl Shown<'_> {
    fn text(&self) -> String {
        let (service, node) = (self.service, self.node);
        let mut text = format!(
            "{} on {node} ({})\n",
            service.name(),
            service.file().display()
        );
        text += &format!("  nodes: {}\n", joined(service.nodes()));
        if !service.drpnodes().is_empty() {
            text += &format!("  drpnodes: {}\n", joined(service.drpnodes()));
        }
        let primary = match (service.topology(), service.flex_primary()) {
            (Topology::Flex, Some(primary)) => format!("flex, {primary} sends"),
            _ => "failover".to_owned(),
        };
        text += &format!("  topology: {primary}\n");
        if let Some(env) = service.env() {
            let own = service.node_env(node).unwrap_or("not said");
            let refused = if self.is_kept_out(node) {
                ": it sends nothing"
            } else {
                ""
            };
            text += &format!("  env: {env} (this node: {own}{refused})\n");
        }
        let images = service.images(node);
        if !images.is_empty() {
            let images: Vec<String> = images.iter().map(ToString::to_string).collect();
            text += &format!("  images: {}\n", images.join(" "));
        }
        let wait = engine::sync::config::duration_text(service.lock_timeout());
        text += &format!("  lock_timeout: {wait}\n");
        for resource in &self.resources {
            text += &self.resource_text(resource);
            if may_send(resource) {
                text += &policy::text(resource, &self.attempts(resource));
            }
            for reception in self.receptions_of(resource) {
                text += &reception_text(reception);
            }
        }
        text
    }

    fn value(&self) -> Value {
        let service = self.service;
        let resources = self.resources.iter().map(|resource| {
            let mut value = self.resource_value(resource);
            if may_send(resource) {
                policy::add(&mut value, resource, &self.attempts(resource));
            }
            let receptions = self.receptions_of(resource);
            value["receives"] = receptions.flat_map(reception_values).collect();
            value
        });
        json!({
            "service": service.name().as_str(),
            "node": self.node.as_str(),
            "file": service.file().display().to_string(),
            "nodes": service.nodes(),
            "drpnodes": service.drpnodes(),
            "topology": match service.topology() {
                Topology::Failover => "failover",
                Topology::Flex => "flex",
            },
            "flex_primary": service.flex_primary(),
            "env": service.env(),
            "node_env": service.node_env(self.node),
            "lock_timeout_seconds": service.lock_timeout().as_secs(),
            "images": service.images(self.node).iter().map(ToString::to_string).collect::<Vec<_>>(),
            "resources": resources.collect::<Vec<_>>(),
        })
    }

    fn resource_text(&self, resource: &Resource) -> String {
        let mut words = Vec::new();
        words.extend(resource.disabled.then_some("disabled"));
        words.extend(resource.optional.then_some("optional"));
        let words = match words.as_slice() {
            [] => String::new(),
            words => format!(" ({})", words.join(", ")),
        };
        let mut text = format!("{}{words}\n", resource.rid);
        if let Some(comment) = &resource.comment {
            text += &format!("  comment: {}\n", comment.replace('\n', " "));
        }
        match &resource.role {
            Role::ReceiverOnly(why) => text += &format!("  sends nothing: {why}\n"),
            Role::SenderByMount(sends) => {
                let path = sends.mount_point.display();
                text += &format!("  src: what is mounted at {path}\n  dst: {}\n", sends.dst);
            }
            Role::Sender(sends) => {
                let at = sends.mount_point.as_ref();
                let at = at.map(|path| format!(" (mounted at {})", path.display()));
                text += &format!(
                    "  src: {}{}\n  dst: {}\n",
                    sends.src,
                    at.unwrap_or_default(),
                    sends.dst
                );
            }
        }
        if may_send(resource) && resource.targets().is_empty() {
            text += "  target: none besides this node\n";
        }
        for target in resource.targets() {
            let env = self.service.node_env(&target.node).unwrap_or_default();
            let kept_out = if self.is_kept_out(&target.node) {
                format!(", not sent there: its env is {env}")
            } else {
                String::new()
            };
            text += &format!("  target: {}{kept_out}\n", target_text(target));
        }
        text
    }

    fn resource_value(&self, resource: &Resource) -> Value {
        let (why, src, mount_point, dst) = match &resource.role {
            Role::ReceiverOnly(why) => (Some(why.to_string()), None, None, None),
            Role::SenderByMount(sends) => (None, None, Some(&sends.mount_point), Some(&sends.dst)),
            Role::Sender(sends) => (
                None,
                Some(&sends.src),
                sends.mount_point.as_ref(),
                Some(&sends.dst),
            ),
        };
        let targets = resource.targets().iter().map(|target| {
            let mut value = target_value(target);
            value["kept_out"] = self.is_kept_out(&target.node).into();
            value
        });
        json!({
            "rid": resource.rid.as_str(),
            "disabled": resource.disabled,
            "optional": resource.optional,
            "comment": resource.comment,
            "sends_nothing": why,
            "src": src,
            "mount_point": mount_point,
            "dst": dst,
            "targets": targets.collect::<Vec<_>>(),
        })
    }

    /// The rule of production: nothing is sent on or to this node.
    fn is_kept_out(&self, node: &NodeName) -> bool {
        let env = self.service.node_env(node);
        self.service.env() == Some(ENV_PRODUCTION) && env.is_some_and(|env| env != ENV_PRODUCTION)
    }

    /// What this node knows of its earlier runs.
    fn attempts(&self, resource: &Resource) -> Attempts {
        self.attempts.read(self.service.name(), &resource.rid)
    }

    fn receptions_of(&self, resource: &Resource) -> impl Iterator<Item = &Reception> {
        let of_resource = |reception: &&Reception| reception.rid == resource.rid;
        self.receptions.iter().filter(of_resource)
    }
}

fn joined(nodes: &[NodeName]) -> String {
    let names: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
    names.join(" ")
}

/// Whether this node may be the sender.
fn may_send(resource: &Resource) -> bool {
    !resource.disabled && !matches!(resource.role, Role::ReceiverOnly(_))
}

fn target_text(target: &Target) -> String {
    let Some(connection) = &target.connection else {
        return format!("{} on this machine (local)", target.dst);
    };
    let mut text = format!(
        "{} on {} ({}), reached at {}",
        target.dst,
        target.node,
        target.kind,
        address_text(connection)
    );
    let mut add = |what: &str, value: Option<String>| {
        if let Some(value) = value {
            text += &format!(", {what} {value}");
        }
    };
    let file = |path: &std::path::PathBuf| path.display().to_string();
    add("key", connection.identity.as_ref().map(file));
    add("known hosts", connection.known_hosts.as_ref().map(file));
    add("starts", connection.remote_command.clone());
    add("dscp", connection.dscp.map(|dscp| dscp.to_string()));
    for image in &connection.images {
        add("image", Some(image.to_string()));
    }
    text
}

fn address_text(connection: &Connection) -> String {
    let user = connection.user.as_ref().map(|user| format!("{user}@"));
    let port = connection.port.map(|port| format!(":{port}"));
    let address = match (connection.address.contains(':'), port.is_some()) {
        (true, true) => format!("[{}]", connection.address),
        _ => connection.address.clone(),
    };
    format!(
        "{}{address}{}",
        user.unwrap_or_default(),
        port.unwrap_or_default()
    )
}

fn reception_text(reception: &Reception) -> String {
    let from = reception.from.iter().map(|from| {
        let src = match &from.src {
            Some(src) => src.to_string(),
            None => "its mount point".to_owned(),
        };
        format!(
            "  receives: {} from {} ({}), where it is {src}\n",
            from.dst, from.node, from.kind
        )
    });
    from.collect()
}

fn target_value(target: &Target) -> Value {
    let mut value = json!({
        "node": target.node,
        "kind": target.kind,
        "dst": target.dst,
    });
    if target.kind != TargetKind::Local
        && let Some(connection) = &target.connection
    {
        value["connection"] = json!({
            "address": connection.address,
            "user": connection.user,
            "port": connection.port,
            "identity": connection.identity,
            "known_hosts": connection.known_hosts,
            "remote_command": connection.remote_command,
            "dscp": connection.dscp.map(|dscp| dscp.to_string()),
            "images": connection.images.iter().map(ToString::to_string).collect::<Vec<_>>(),
        });
    }
    value
}

fn reception_values(reception: &Reception) -> Vec<Value> {
    let from = reception.from.iter().map(|from| {
        json!({
            "node": from.node,
            "kind": from.kind,
            "src": from.src,
            "dst": from.dst,
        })
    });
    from.collect()
}
