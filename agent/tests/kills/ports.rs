//! Ports that are not there, that say nothing, or that may not be opened.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::time::Duration;

use emulators::air::Air;
use emulators::dexcom::{Generation, Receiver};
use emulators::dsmr::Dsmr;
use emulators::freestyle::Freestyle;
use emulators::modbus::Modbus;
use emulators::{Device, Manners, Socket, Test};

use crate::rig::{Rig, end, until};

/// Time that all threads of a process were on a processor; none where the system does not tell.
fn cpu(process: u32) -> Option<Duration> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let of = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse().ok()
    };
    let all: Vec<u64> = threads.map(|thread| of(thread.ok()?)).collect::<Option<_>>()?;
    Some(Duration::from_nanos(all.iter().sum())).filter(|taken| !taken.is_zero())
}

/// What a process takes of a processor in `span`; none where the system does not tell.
fn taken(process: u32, span: Duration) -> Option<Duration> {
    let before = cpu(process);
    std::thread::sleep(span);
    Some(cpu(process)?.saturating_sub(before?))
}

/// Says nothing, whatever it is asked.
struct Mute;

impl Device for Mute {
    fn hear(&mut self, _bytes: &[u8]) -> Vec<u8> {
        Vec::new()
    }
}

#[test]
fn an_agent_whose_devices_are_unplugged_or_mute_takes_no_processor() {
    let mut socket = Socket::new().unwrap();
    let rig = Rig::new(|_| {
        let mut text = format!("[[source]]\nname = \"it\"\ntype = \"dexcom_receiver\"\nport = {:?}\n", socket.path);
        for number in 0..5 {
            text.push_str(&format!(
                "[[source]]\nname = \"meter{number}\"\ntype = \"glucose_meter\"\nmodel = \"contour\"\ntime_zone = \"UTC\"\n\
                 port = \"/dev/serial/by-id/none-{number}\"\n[[source]]\nname = \"oximeter{number}\"\ntype = \"contec_cms50\"\n\
                 protocol = \"old\"\nport = \"/dev/serial/by-id/none-{number}\"\n"
            ));
        }
        text
    });
    socket.plug_in(Mute, Manners::good()).unwrap();
    let agent = rig.start();
    assert!(until(|| socket.heard() > 0), "nobody asks: {}", rig.log());
    let span = Duration::from_secs(4);
    let taken = taken(agent.id(), span);
    end(agent);
    let Some(taken) = taken else {
        println!("skipped: this system does not tell the time of threads in /proc/…/schedstat");
        return;
    };
    println!("{taken:?} in {span:?}, with 10 devices unplugged and 1 mute");
    assert!(taken < span / 50, "{taken:?} of {span:?}: {}", rig.log());
}

/// Reads a device, pulls its plug, and looks at what the agent takes then.
fn unplugged(source: &str, device: impl Device + 'static) {
    let mut socket = Socket::new().unwrap();
    let rig = Rig::new(|_| format!("[[source]]\nname = \"it\"\nport = {:?}\n{source}\n", socket.path));
    socket.plug_in(device, Manners::good()).unwrap();
    let agent = rig.start();
    let is_read = until(|| !rig.readings().is_empty());
    socket.unplug();
    let open = || std::fs::read_dir(format!("/proc/{}/fd", agent.id())).unwrap().count();
    std::thread::sleep(Duration::from_millis(500));
    let (span, before) = (Duration::from_secs(3), open());
    let taken = taken(agent.id(), span);
    let after = open();
    end(agent);
    assert!(is_read, "nothing is read: {}", rig.log());
    assert!(after <= before, "{after} descriptors, {before} before: {}", rig.log());
    let Some(taken) = taken else {
        println!("skipped: this system does not tell the time of threads in /proc/…/schedstat");
        return;
    };
    println!("{taken:?} in {span:?} while this is unplugged: {source:?}");
    assert!(taken < span / 50, "{taken:?} of {span:?}: {}", rig.log());
}

#[test]
fn of_no_family_an_unplugged_device_takes_the_processor_or_a_descriptor() {
    std::thread::scope(|scope| {
        let tests = || (0..20).map(Test::number).collect();
        let meter = "type = \"glucose_meter\"\nmodel = \"freestyle_lite\"\ntime_zone = \"UTC\"";
        scope.spawn(move || unplugged(meter, Freestyle::lite("DBMN123-A4567", tests())));
        let mut receiver = Receiver::new("sm40000000", Generation::G6);
        (0..50).for_each(|number| receiver.glucose(number, 100, 4));
        scope.spawn(move || unplugged("type = \"dexcom_receiver\"", receiver));
        let dust: Vec<(u16, u16)> = (0..2_000).map(|number| (number, 1)).collect();
        scope.spawn(move || unplugged("type = \"sds011\"", Air::sds011(&dust)));
        scope.spawn(|| unplugged("type = \"dsmr\"", Dsmr::new(2_000)));
        let bus = "type = \"modbus\"\nevery_s = 1\nmap = \"sdm630\"";
        scope.spawn(move || unplugged(bus, Modbus::sdm630()));
    });
}

#[test]
fn an_agent_that_may_not_open_a_port_says_what_to_do() {
    let (_master, port) = emulators::terminal().unwrap();
    let rig = Rig::new(|_| {
        format!(
            "[[source]]\nname = \"meter\"\ntype = \"mhz19\"\nport = {port:?}\n[[source]]\nname = \"gone\"\ntype = \"nmea\"\nport = \"/dev/serial/by-id/none\"\n"
        )
    });
    let mode = |path: &std::path::Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let mut command = rig.command();
    // Whoever may do everything is somebody else for once.
    let advice = if rustix::process::geteuid().is_root() {
        mode(rig.folder.path(), 0o777);
        mode(&port, 0o660);
        command.uid(65_534).gid(65_534);
        "the agent's user is to be in the group `"
    } else {
        mode(&port, 0);
        "its mode is 000, which lets no group in: a udev rule"
    };
    let agent = command.spawn().unwrap();
    let is_told = until(|| rig.log().contains(advice) && rig.log().contains("is it plugged in?"));
    end(agent);
    let log = rig.log();
    assert!(is_told && log.contains("cannot open: Permission denied"), "{log}");
    assert!(log.contains("cannot open: No such file or directory"), "{log}");
}
