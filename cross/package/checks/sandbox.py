"""What a unit takes away from its program, as far as name spaces can: how the program sees files and processes. What is
left to systemd itself (system calls, devices, addresses, ports) is judged by `make containers`, and not lived through."""

from __future__ import annotations

import shlex

from machine import Debian


def within(machine: Debian, settings: dict[str, str], command: list[str]) -> list[str]:
    """`command` as the unit's user, who has what the unit leaves; as it is to be said outside."""
    user, group = settings["User"], settings["Group"]
    as_user = ["setpriv", f"--reuid={user}", f"--regid={group}", "--init-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    script = "\n".join(["root=$1 && shift", *_lines(settings), 'exec chroot "$root" "$@"'])
    return machine.entered("unshare", "--mount", "sh", "-euc", script, "sandbox", machine.root, *machine.clean(*as_user, *command))


def _lines(settings: dict[str, str]) -> list[str]:
    """Shell that makes it so below $root, in a name space of its own."""

    def makes(path: str, setting: str) -> str:
        return f'chroot "$root" install -d -o {settings["User"]} -g {settings["Group"]} -m {settings.get(setting, "0755")} {path}'

    lines, writable = ['mount --rbind "$root" "$root"'], []
    for setting, folder in (("StateDirectory", "/var/lib"), ("RuntimeDirectory", "/run")):
        for name in shlex.split(settings.get(setting, "")):
            writable.append(f"{folder}/{name}")
            lines.append(makes(writable[-1], f"{setting}Mode"))
    for path in shlex.split(settings.get("ReadWritePaths", "")):
        writable.append(path.removeprefix("-"))
    if settings.get("ProtectSystem") == "strict":
        lines += [f'[ ! -e "$root{path}" ] || mount --bind "$root{path}" "$root{path}"' for path in writable]
        lines.append('mount -o remount,bind,ro "$root"')
    if settings.get("ProtectHome") == "true":
        lines += [f'[ ! -e "$root{path}" ] || mount -t tmpfs -o mode=000,ro tmpfs "$root{path}"' for path in ("/home", "/root", "/run/user")]
    if settings.get("PrivateTmp") == "true":
        lines += [f'mount -t tmpfs -o mode=1777 tmpfs "$root{path}"' for path in ("/tmp", "/var/tmp")]
    about = [f"{option}={settings[setting]}" for setting, option in (("ProtectProc", "hidepid"), ("ProcSubset", "subset")) if setting in settings]
    if about:
        lines.append(f'mount -t proc -o {",".join(about)} proc "$root/proc"')
    return [*lines, f"umask {settings.get('UMask', '0022')}"]
