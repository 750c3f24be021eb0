//! Ports of machines that are folders.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// A machine with one adapter, one meter with a plug of its own, one port on the board, and one without a chip.
fn machine() -> tempfile::TempDir {
    let machine = tempfile::tempdir().unwrap();
    let root = machine.path();
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for (folder, tty, product, serial) in
        [("1-1", "ttyUSB0", "6001\n", "A5069RR4\n"), ("1-2", "ttyUSB10", "85a7\n", "12\n")]
    {
        let usb = format!("sys/devices/pci/usb1/{folder}");
        let vendor = if product == "85a7\n" { "10c4\n" } else { "0403\n" };
        write(&format!("{usb}/idVendor"), vendor);
        write(&format!("{usb}/idProduct"), product);
        write(&format!("{usb}/product"), "FT232R\x07 USB UART\n");
        write(&format!("{usb}/serial"), serial);
        write(&format!("{usb}/{folder}:1.0/{tty}/tty/{tty}/dev"), "188:0\n");
        symlink(format!("../../../{tty}"), root.join(format!("{usb}/{folder}:1.0/{tty}/tty/{tty}/device"))).unwrap();
        fs::create_dir_all(root.join("sys/class/tty")).unwrap();
        let to = format!("../../devices/pci/usb1/{folder}/{folder}:1.0/{tty}/tty/{tty}");
        symlink(to, root.join("sys/class/tty").join(tty)).unwrap();
        write(&format!("dev/{tty}"), "");
    }
    for (tty, of) in [("ttyS0", "4\n"), ("ttyS1", "0\n")] {
        write(&format!("sys/class/tty/{tty}/type"), of);
        fs::create_dir_all(root.join(format!("sys/class/tty/{tty}/device"))).unwrap();
        write(&format!("dev/{tty}"), "");
    }
    fs::create_dir_all(root.join("sys/class/tty/tty1")).unwrap();
    fs::create_dir_all(root.join("dev/serial/by-id")).unwrap();
    fs::create_dir_all(root.join("dev/serial/by-path")).unwrap();
    symlink("../../ttyUSB0", root.join("dev/serial/by-id/usb-FTDI_FT232R_A5069RR4-if00-port0")).unwrap();
    symlink("../../ttyUSB0", root.join("dev/serial/by-path/pci-0-usb-1-1")).unwrap();
    symlink("../../ttyUSB10", root.join("dev/serial/by-path/pci-0-usb-1-2")).unwrap();
    machine
}

#[test]
fn ports_are_listed_by_the_name_that_stays_and_with_what_is_plugged_in() {
    let machine = machine();
    let ports = list(machine.path());
    let short = |port: &SerialPort| {
        let path = port.path.strip_prefix(&format!("{}/", machine.path().display())).unwrap().to_owned();
        (path, port.usb.as_ref().map(Usb::id))
    };
    assert_eq!(
        ports.iter().map(short).collect::<Vec<_>>(),
        [
            ("dev/serial/by-id/usb-FTDI_FT232R_A5069RR4-if00-port0".to_owned(), Some("0403:6001".to_owned())),
            ("dev/serial/by-path/pci-0-usb-1-2".to_owned(), Some("10c4:85a7".to_owned())),
            ("dev/ttyS0".to_owned(), None),
        ]
    );
    let usb = ports[0].usb.as_ref().unwrap();
    assert_eq!(usb.called.as_deref(), Some("FT232R USB UART"), "without its control characters");
    assert_eq!(usb.serial_ends.as_deref(), Some("9RR4"));
    assert_eq!(ports[1].usb.as_ref().unwrap().serial_ends, None, "of a short one nothing is shown");
    assert!(named(machine.path()).starts_with("there is /"));
    assert_eq!(named(&machine.path().join("none")), "this machine has no serial port now");
}

#[test]
fn who_may_not_open_a_port_is_told_its_group_or_that_no_group_may() {
    let machine = machine();
    let port = machine.path().join("dev/ttyUSB0");
    let own = fs::metadata(&port).unwrap().gid();
    fs::create_dir_all(machine.path().join("etc")).unwrap();
    fs::write(machine.path().join("etc/group"), format!("root:x:7777777:\nplugdev:x:{own}:someone\n")).unwrap();
    let mode = |mode: u32| fs::set_permissions(&port, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o660);
    let advice = how_to_be_let_in(machine.path(), &port);
    assert!(advice.contains("`usermod -aG plugdev USER`"), "{advice}");
    mode(0o600);
    let advice = how_to_be_let_in(machine.path(), &port);
    assert!(advice.contains("600") && advice.contains("udev"), "{advice}");
    fs::remove_file(machine.path().join("etc/group")).unwrap();
    assert_eq!(group_name(machine.path(), 20), "20");
    assert!(denied(machine.path(), &machine.path().join("dev/ttyUSB7")).unwrap().contains("No such file"));
}

#[test]
fn who_has_a_port_open_is_named() {
    let machine = machine();
    let path = machine.path().join("dev/serial/by-path/pci-0-usb-1-1");
    let soon = || Instant::now() + std::time::Duration::from_secs(30);
    assert_eq!(holder(&path, soon()), None);
    let _open = fs::File::open(&path).unwrap();
    assert_eq!(holder(&path, soon()).unwrap(), "this agent itself, for another source");
    assert_eq!(holder(&path, Instant::now()), None, "it looks no longer than it may");
}
