//! What the emulated machine looks like: QEMU's command line.

use std::ffi::OsString;
use std::path::Path;

use super::{DISKS, QemuGuest, Role, System};

/// Memory of a guest with our image, in MiB: half of it is ever used by tests.
const MEMORY_MIB: u32 = 1792;

/// Memory of a foreign guest, in MiB: a full system with its services.
const FOREIGN_MEMORY_MIB: u32 = 3072;

/// Limit of ZFS' cache in a guest, in bytes: the root file system's changes and
/// the test data of the page cache need the rest.
const ARC_BYTES: u64 = 512 << 20;

/// Name of the hub port to cut. The guest's network card hangs on a hub, like a
/// machine on a switch: cutting the far side of the hub leaves the card's own
/// carrier on, so nobody in the guest is told that the network is dead.
pub(super) const LINK_PORT: &str = "link-cable";

impl QemuGuest {
    pub(super) fn arguments(&self, ssh_port: u16) -> Vec<OsString> {
        let mut line = Line::default();
        line.add("-name", format!("vm-tests-{}", self.role));
        line.flag("-nodefaults")
            .flag("-no-user-config")
            .flag("-no-reboot");
        line.add("-display", "none");
        line.add("-accel", "tcg,thread=multi,tb-size=512")
            .add("-smp", self.cpus.to_string());
        // Everything that emulation can do, but page tables of four levels: each
        // level less is a memory access less for every miss.
        line.add("-cpu", "max,la57=off");
        line.add("-device", "virtio-rng-pci");
        line.add("-serial", "stdio");
        line.add(
            "-qmp",
            format!(
                "unix:{}/monitor.sock,server=on,wait=off",
                self.directory.display()
            ),
        );
        self.system_disk(&mut line);
        for number in 0..DISKS {
            let disk = self.disk(number);
            // Thrown away with the run: nothing has to reach the host's disk.
            line.drive(
                &format!("scratch{number}"),
                &disk,
                "cache=unsafe,discard=unmap",
                &format!(",serial=scratch{number}"),
            );
        }
        self.network(&mut line, ssh_port);
        line.0
    }

    fn system_disk(&self, line: &mut Line) {
        match &self.system {
            System::Debian { image, .. } => {
                line.add("-machine", "q35,usb=off,smm=off,vmport=off,hpet=off");
                line.add("-m", MEMORY_MIB.to_string());
                line.add("-kernel", &image.kernel)
                    .add("-initrd", &image.initrd);
                line.add("-append", self.kernel_command_line());
                line.drive("root", &image.root, "readonly=on,file.locking=off", "");
                line.add(
                    "-fsdev",
                    format!(
                        "local,id=host,path={},security_model=none,readonly=on",
                        self.share().display()
                    ),
                );
                line.add("-device", "virtio-9p-pci,fsdev=host,mount_tag=host");
            }
            System::Foreign { disk, .. } => {
                line.add("-machine", "q35,usb=off")
                    .add("-m", FOREIGN_MEMORY_MIB.to_string());
                // Changes go to a temporary file: the disk serves both guests.
                line.drive(
                    "root",
                    disk,
                    "snapshot=on,file.locking=off,cache=unsafe",
                    ",bootindex=1",
                );
            }
        }
    }

    fn kernel_command_line(&self) -> String {
        // Mitigations, audit, self-tests and the like only cost emulated time.
        let quick = "console=ttyS0 quiet panic=-1 mitigations=off nopti nokaslr nowatchdog \
                     audit=0 apparmor=0 random.trust_cpu=on no_timer_check tsc=reliable \
                     8250.nr_uarts=1 cryptomgr.notests net.ifnames=0";
        format!(
            "{quick} guest.name={} guest.address={} guest.arc_bytes={ARC_BYTES}",
            self.role,
            self.role.address()
        )
    }

    fn network(&self, line: &mut Line, ssh_port: u16) {
        // The harness' way in; restrict=on leaves no way out.
        line.add(
            "-netdev",
            format!("user,id=harness,restrict=on,hostfwd=tcp:127.0.0.1:{ssh_port}-:22"),
        );
        line.add("-device", "virtio-net-pci,netdev=harness,romfile=");
        let socket = self.link_socket.display();
        let (side, mac) = match self.role {
            Role::Source => (
                format!("server=on,addr.type=unix,addr.path={socket}"),
                "52:54:00:77:00:01",
            ),
            // The other side may be started later, or again after a power cut.
            Role::Target => (
                format!("server=off,addr.type=unix,addr.path={socket},reconnect-ms=100"),
                "52:54:00:77:00:02",
            ),
        };
        line.add("-netdev", format!("stream,id=link,{side}"));
        line.add(
            "-netdev",
            format!("hubport,id={LINK_PORT},hubid=0,netdev=link"),
        );
        line.add("-netdev", "hubport,id=link-card,hubid=0");
        line.add(
            "-device",
            format!("virtio-net-pci,netdev=link-card,romfile=,mac={mac}"),
        );
    }
}

#[derive(Default)]
struct Line(Vec<OsString>);

impl Line {
    fn flag(&mut self, flag: &str) -> &mut Self {
        self.0.push(flag.into());
        self
    }

    fn add(&mut self, option: &str, value: impl Into<OsString>) -> &mut Self {
        self.0.push(option.into());
        self.0.push(value.into());
        self
    }

    fn drive(&mut self, id: &str, file: &Path, how: &str, device: &str) -> &mut Self {
        // QEMU reads a comma in a file name doubled.
        let file = file.display().to_string().replace(',', ",,");
        // Foreign disks come in their own formats, which QEMU finds out.
        let format = if how.contains("snapshot") {
            ""
        } else {
            "format=raw,"
        };
        self.add(
            "-drive",
            format!("if=none,id={id},file={file},{format}{how}"),
        );
        self.add("-device", format!("virtio-blk-pci,drive={id}{device}"))
    }
}
