"""What the image of the gateway has in it, run as it would be: as nobody, who can write nowhere but to its state; and the
proxy in front of it, with nginx."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import stat
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from common import BUILT, HERE, UNPACKED, free_port, need, running
from judging import Skipped, attempt, holds, run, until

NOBODY = 65532


def _identities(folder: Path) -> None:
    certs = need(BUILT / "tributary-certs", "cargo build -p tributary-certs")
    run(certs, "init", "--dir", folder / "authority")
    run(certs, "issue", "--dir", folder / "authority", "--server", "localhost", "--out", folder / "gateway")
    shutil.copy(folder / "authority/ca.crt", folder / "ca.crt")


def _settings(at: str, port: int) -> str:
    return f"""[listener]
address = "127.0.0.1:0"
certificate_file = "{at}/gateway.crt"
key_file = "{at}/gateway.key"
authority_file = "{at}/ca.crt"
[http]
address = "127.0.0.1:{port}"
[store]
path = "{at}/../../var/lib/tributary/gateway.db"
"""


@contextmanager
def _image() -> Iterator[Path]:
    """The image's content in a folder, with the libraries of a program that is not static, and settings."""
    if os.geteuid() != 0:
        raise Skipped("only root may make a folder the root of others")
    gateway = need(BUILT / "tributary-gateway", "cargo build -p tributary-gateway")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        image, port = Path(folder, "image"), free_port()
        run(HERE / "assemble", gateway, "/etc/ssl/certs/ca-certificates.crt", image)
        # In the image it is static; what was built for this machine brings its libraries along.
        for library in re.findall(r"(/\S+\.so\S*)", run("ldd", gateway)):
            Path(image, library[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, image / library[1:])
        # What an engine puts into each container.
        (image / "dev").mkdir()
        os.mknod(image / "dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.chmod(image / "dev/null", 0o666)
        _identities(Path(folder))
        settings = image / "etc/tributary"
        for name in ("gateway.crt", "gateway.key", "ca.crt"):
            shutil.copy(Path(folder, name), settings)
        (settings / "gateway.toml").write_text(_settings("/etc/tributary", port))
        for path in settings.iterdir():
            os.chown(path, NOBODY, NOBODY)
        yield image


def image() -> str:
    """It starts, is healthy by its own word, and can write to its state and to nothing else."""
    with _image() as root:
        within = ("chroot", f"--userspec={NOBODY}:{NOBODY}", root)
        writable = run("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "find", root, "-writable", "-not", "-type", "l")
        strange = {line for line in writable.split() if not line.startswith((f"{root}/var/lib/tributary", f"{root}/etc/tributary", f"{root}/dev/"))}
        holds(not strange, f"nobody can write to {sorted(strange)}")
        ask = (*within, "/bin/tributary-gateway", "health")
        holds(attempt(*ask).returncode != 0, "the health check is content where no gateway runs")
        with running(*within, "/bin/tributary-gateway", "run", "--config", "/etc/tributary/gateway.toml") as program:
            last = []
            until(lambda: last.append(attempt(*ask)) or last[-1].returncode == 0 or program.poll() is not None, "health")
            holds(program.poll() is None, f"the gateway ended with {program.returncode}")
        holds(program.returncode == 0, f"told to stop, the gateway ended with {program.returncode}")
        there = sorted(path.name for path in (root / "bin").iterdir())
        holds(there == ["tributary-gateway"], f"beside the program there is {there}")
    return "runs as nobody, with nothing beside it; healthy by its own word"


def settings() -> str:
    """The settings that go with compose.yaml are good with the secrets that the page's commands make, for whom the gateway runs as."""
    gateway = need(BUILT / "tributary-gateway", "cargo build -p tributary-gateway")
    need(BUILT / "tributary-certs", "cargo build -p tributary-certs")
    commands = re.search(r"^```sh\ncd gateway/containers/compose\n(.*?)^docker compose", (HERE / "README.md").read_text(), re.M | re.S)
    holds(commands, "README.md has no commands that make the secrets")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy(HERE / "compose/gateway.example.toml", folder)
        root = os.geteuid() == 0
        # Only root may give files away.
        script = "\n".join(line for line in commands[1].splitlines() if root or not line.startswith("chown"))
        run("sh", "-euc", script, cwd=folder, HOME=name, PATH=f"{BUILT.resolve()}:{os.environ['PATH']}")
        text = (folder / "secrets/gateway/gateway.toml").read_text()
        places = {"/etc/tributary": "secrets/gateway", "/var/lib/authority": "secrets/ca", "/run/secrets": "secrets/migrate"}
        for within, here in places.items():
            holds(within in text, f"compose/gateway.example.toml names nothing in {within}")
            text = text.replace(within, f"{name}/{here}")
        # Where the trail's checkpoint is by default, the gateway of compose.yaml has a volume.
        (folder / "state").mkdir()
        if root:
            os.chown(folder / "state", NOBODY, NOBODY)
        (folder / "gateway.toml").write_text(f'{text}\n[audit]\ncheckpoint_file = "{name}/state/gateway.audit"\n')
        nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups") if root else ()
        run(*nobody, gateway, "check-config", "--config", folder / "gateway.toml")
    return "compose/gateway.example.toml, with secrets as README.md makes them"


def alarms() -> str:
    """Each alarm can be raised: what it looks at, a gateway tells from its start on, with the labels that are asked for."""
    gateway = need(BUILT / "tributary-gateway", "cargo build -p tributary-gateway")
    rules = [rule for group in yaml.safe_load((HERE / "compose/alarms.yaml").read_text())["groups"] for rule in group["rules"]]
    looked_at = {found for rule in rules for found in re.findall(r"(tributary_\w+)(?:\{(.*?)\})?", rule["expr"])}
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        _identities(folder)
        (folder / "var/lib/tributary").mkdir(parents=True)
        settings = _settings(name, port).replace(f"{name}/../..", name)
        (folder / "gateway.toml").write_text(settings)

        def told() -> str:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                    return answer.read().decode()
            except urllib.error.URLError:
                return ""

        with running(gateway, "run", "--config", folder / "gateway.toml"):
            until(lambda: "tributary_devices " in told(), "metrics")
            text = told()
    for metric, matchers in sorted(looked_at):
        series = re.findall(rf"^{metric}(?:\{{(.*)\}})? \S+$", text, re.M)
        for label, sign, value in re.findall(r'(\w+)(!?=)"(\w+)"', matchers):
            series = [labels for labels in series if (f'{label}="{value}"' in labels) == (sign == "=")]
            holds(f'{label}="{value}"' in text, f"alarms.yaml: there is no {metric} of the {label} {value}")
        holds(series, f"alarms.yaml: nothing tells of {metric}{{{matchers}}}")
    return f"{len(rules)} alarms, {len(looked_at)} things that they look at"


def proxy() -> str:
    """It carries what our own page asks, and what nobody asks from elsewhere; metrics stay inside."""
    nginx = need(UNPACKED / "usr/sbin/nginx", "gateway/containers/fetch")
    gateway = need(BUILT / "tributary-gateway", "cargo build -p tributary-gateway")
    with tempfile.TemporaryDirectory() as name:
        folder, inside, outside = Path(name), free_port(), free_port()
        _identities(folder)
        (folder / "var/lib/tributary").mkdir(parents=True)
        settings = _settings(str(folder), inside).replace(f"{folder}/../..", str(folder))
        (folder / "gateway.toml").write_text(settings)
        # The same file with this check's places in it.
        text = (HERE / "proxy.conf").read_text()
        for old, new in (("/tmp/", f"{name}/"), ("8443", f"127.0.0.1:{outside}"), ("127.0.0.1:8080", f"127.0.0.1:{inside}"), ("/etc/tributary", name)):
            holds(old in text, f"proxy.conf has no {old}")
            text = text.replace(old, new)
        (folder / "proxy.conf").write_text(text)
        # As in the image: both are nobody.
        nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups") if os.geteuid() == 0 else ()
        if nobody:
            run("chown", "--recursive", f"{NOBODY}:{NOBODY}", folder)
        context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        host = f"localhost:{outside}"

        def ask(path: str, **headers: str) -> tuple[int, str]:
            request = urllib.request.Request(f"https://{host}{path}", headers=headers)
            try:
                with urllib.request.urlopen(request, context=context, timeout=10) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, ""
            except urllib.error.URLError:
                return 0, ""

        with (
            running(*nobody, gateway, "run", "--config", folder / "gateway.toml"),
            running(*nobody, nginx, "-c", folder / "proxy.conf", "-e", folder / "log", "-g", "daemon off;"),
        ):
            until(lambda: ask("/healthz")[0] == 200, "an answer through the proxy")
            expected = [
                (200, "/", {}, "the dashboard"),
                (200, "/api/v1/devices", {"Origin": f"https://{host}"}, "our own page's question"),
                (403, "/api/v1/devices", {"Origin": "https://elsewhere.example"}, "a question that another page had a browser ask"),
                (403, "/api/v1/devices", {"Origin": f"http://{host}"}, "a question of a page that came without TLS"),
                (403, "/api/v1/devices", {"Origin": f"https://{host}.elsewhere.example"}, "a page whose name begins with ours"),
                (404, "/metrics", {}, "metrics"),
            ]
            for status, path, headers, what in expected:
                holds((got := ask(path, **headers)[0]) == status, f"{what} is answered with {got}, not {status}")
            json.loads(ask("/api/v1/devices")[1])
    return f"{len(expected)} answers, by nginx and the gateway"
