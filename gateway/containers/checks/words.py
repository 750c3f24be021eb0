"""What Dockerfiles and compose.yaml say."""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
import tempfile
import tomllib
from pathlib import Path

import jsonschema
import yaml

from common import HERE, TOOLS
from judging import ROOT, Skipped, attempt, holds, run

COMPOSE = HERE / "compose/compose.yaml"
UNITS = (ROOT / "agent/packaging/tributary-agent.service", *sorted((ROOT / "gateway/packaging").glob("*.service")))
TIMERS = sorted((ROOT / "gateway/packaging").glob("*.timer"))
# Images are built with them on Alpine, by the commands that BusyBox has.
SCRIPTS = ("cross/supply/ship", "cross/supply/tools", "cross/supply/flags", "gateway/containers/assemble")
DOCKERFILES = (HERE / "Dockerfile", ROOT / "agent/containers/Dockerfile")
# What holds a secret by its name.
SECRETS = ("*.key", "*.password", "*.claim", "*.token", "ca/")
# What a service may change on the host: the gateway, its authority's index and list.
CHANGED = {"gateway": {"./secrets/ca"}}
# Folders that an image gives to the user whom it runs as. A new volume there belongs to him; anywhere else it is root's.
OWNED = {"mosquitto": "/mosquitto/data"}


def dockerfiles() -> str:
    """hadolint; and what it has no rule for: no image ends as root, each says how it is looked after."""
    run(TOOLS / "python/bin/hadolint", *DOCKERFILES)
    targets = 0
    for path in DOCKERFILES:
        for stage in path.read_text().split("\nFROM ")[1:]:
            if "ENTRYPOINT" not in stage:
                continue
            targets += 1
            name = f"{path.relative_to(ROOT)}: {stage.splitlines()[0]}"
            holds("\nUSER 65532:65532\n" in stage, f"{name}: runs as root")
            holds("\nHEALTHCHECK " in stage, f"{name}: has no health check")
            holds('ENTRYPOINT ["' in stage, f"{name}: is started by a shell")
        ignored = path.with_name("Dockerfile.dockerignore").read_text().splitlines()
        for secret in SECRETS:
            holds(f"**/{secret.rstrip('/')}" in ignored, f"{path.relative_to(ROOT)}: an image is built with {secret} in reach")
        for command in _commands(path.read_text()):
            group = re.search(r"--group-add (\S+)", command)
            holds(not group or not group[1][0].isalpha(), f"{path.relative_to(ROOT)}: the image knows no group by the name {group and group[1]}")
            holds(":/etc/tributary:ro" not in command, f"{path.relative_to(ROOT)}: a renewed certificate could not be stored")
    holds(targets == 5, f"{targets} images where 5 were expected")
    for script in SCRIPTS:
        holds("flock -w" not in (ROOT / script).read_text(), f"{script}: BusyBox's flock knows no -w")
    return f"{targets} images"


def secrets() -> str:
    """What holds a secret is not committed by mistake, and nothing that is committed is hidden by that; pages make keys elsewhere."""
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for secret in SECRETS:
        holds(secret in ignored, f".gitignore: {secret} could be committed")
    for page in (HERE / "README.md", ROOT / "terraform/README.md"):
        text = page.read_text()
        made = re.findall(r"tributary-certs init +--(?:dir|root) (\S+)(?: +--under (\S+))?", text)
        # What is below an offline root may be where it issues, in a folder whose name is not committed.
        well = [folder.startswith("$keys/") or (folder.endswith("/ca") and root.startswith("$keys/")) for folder, root in made]
        holds(made and all(well), f"{page.relative_to(ROOT)}: an authority is made in the tree: {made}")
        holds("umask 077" in text, f"{page.relative_to(ROOT)}: others could read the keys")
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        raise Skipped("git or its folder is not here: whether something that is committed is hidden was not looked at")
    hidden = run("git", "-C", ROOT, "ls-files", "--cached", "--ignored", "--exclude-standard").split()
    holds(not hidden, f".gitignore hides what is committed: {hidden}")
    return f"{len(SECRETS)} names, 2 pages"


def _commands(text: str) -> list[str]:
    """How the comments of a Dockerfile say that its images are run."""
    lines = re.sub(r"\\\n#", " ", text).splitlines()
    return [line for line in lines if re.match(r"#\s+docker run ", line)]


def compose() -> str:
    """The schema of compose files; no secret within, nor where it is not needed; nothing open but what is meant to be; nobody
    root; no network that goes away with a program; what a broker keeps is kept."""
    with tarfile.open(TOOLS / "dclint-3.1.0.tgz") as package:
        schema = json.load(package.extractfile("package/schemas/compose.schema.json"))
    file = described()
    wrong = sorted(jsonschema.Draft7Validator(schema).iter_errors(file), key=lambda error: list(error.path))
    holds(not wrong, "\n".join(f"{'.'.join(map(str, error.path))}: {error.message}" for error in wrong))
    opened = set()
    for name, service in file["services"].items():
        holds(service.get("read_only") is True, f"{name}: its root can be written to")
        holds(service.get("cap_drop") == ["ALL"] and "cap_add" not in service, f"{name}: has capabilities")
        holds("no-new-privileges:true" in service.get("security_opt", []), f"{name}: may gain privileges")
        holds("mem_limit" in service and "pids_limit" in service, f"{name}: is unbounded")
        holds("privileged" not in service and service.get("user", "").split(":")[0] != "0", f"{name}: is root")
        tag = service["image"].rpartition(":")[2]
        holds(tag not in ("", "latest") and "/" not in tag, f"{name}: names no version")
        for variable in service.get("environment", {}):
            holds("PASSWORD" not in variable or variable.endswith("_FILE"), f"{name}: {variable} is a secret in the environment")
        opened |= {port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")}
        for volume in service.get("volumes", []):
            source, target = volume.split(":")[:2]
            holds("docker.sock" not in source, f"{name}: could be the host's root")
            holds(not source.startswith(".") or volume.endswith(":ro") or source in CHANGED.get(name, ()), f"{name}: may change {source}")
            within_here = source.startswith(".") and not source.startswith("./secrets")
            holds(not within_here or (COMPOSE.parent / source).exists(), f"{name}: {source} is not there")
    holds(opened == {"8883:8883", "8884:8883"}, f"open to the world: {sorted(opened)}")
    _networks(file["services"])
    _owners_password(file["services"])
    _authority(file["services"])
    _broker(file["services"]["mosquitto"])
    return f"{len(file['services'])} services"


def described() -> dict:
    """What compose.yaml says."""
    return yaml.safe_load(io.StringIO(COMPOSE.read_text()))


def _networks(services: dict) -> None:
    """Who joins another's network joins one that is never started anew."""
    for name, service in services.items():
        joined, _, other = service.get("network_mode", "").partition("service:")
        if not joined and other:
            holds(services[other].get("entrypoint") == ["sleep", "infinity"], f"{name}: its network goes away whenever {other} ends")
            holds("depends_on" not in services[other], f"{other}: waits for others, and its network with it")


def _owners_password(services: dict) -> None:
    """Whoever runs cannot change the schema: only `migrate` reads that role's password."""
    named = re.search(r'^migrate_password_file = "(/.*)/(.*)"', (COMPOSE.parent / "gateway.example.toml").read_text(), re.M)
    holds(named, "compose/gateway.example.toml names no migrate_password_file")
    mounts = {name: dict(reversed(volume.split(":")[:2]) for volume in service.get("volumes", [])) for name, service in services.items()}
    source = mounts["migrate"].get(named[1])
    holds(source, f"migrate: {named[1]} is not mounted, where {named[2]} is to be")
    for name, service in mounts.items():
        holds(name == "migrate" or source not in service.values(), f"{name}: has the password that changes the schema")
    installed = re.findall(rf"^.*{re.escape(named[2])}.*$", (HERE / "README.md").read_text(), re.M)
    holds(installed and all(line.endswith(f"{source[2:]}/") for line in installed), f"README.md puts {named[2]} elsewhere than into {source}: {installed}")
    holds(re.fullmatch(r"on-failure:\d+", services["migrate"].get("restart", "")), "migrate: is tried once only, or for ever")


def _authority(services: dict) -> None:
    """The gateway can issue and revoke, and keeps its list in date; nobody else has its authority's key."""
    settings = tomllib.loads((COMPOSE.parent / "gateway.example.toml").read_text())
    place = settings["authority"]["path"]
    holds(f"./secrets/ca:{place}" in services["gateway"]["volumes"], f"gateway: cannot write to its authority, which is to be in {place}")
    holds(settings["listener"]["crl_file"] == f"{place}/ca.crl", "gateway: goes by another list than the one that it keeps in date")
    others = [name for name, service in services.items() for volume in service.get("volumes", []) if "secrets/ca" in volume]
    holds(others == ["gateway"], f"have the authority's key: {others}")


def _broker(service: dict) -> None:
    """What the broker keeps lies in a volume that it may write to."""
    configuration = ROOT / "gateway/brokers/mosquitto/mosquitto.conf"
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "mosquitto.conf")
        if service["command"][0] == "sh":
            script = service["command"][2].replace("/tmp", folder).replace("/etc/mosquitto/mosquitto.conf", str(configuration))
            run("sh", "-c", script.partition("&& exec mosquitto")[0])
        else:
            made = configuration
        place = re.search(r"^persistence_location (.*)/$", made.read_text(), re.M)
    holds(place and any(volume.split(":")[1] == place[1] for volume in service["volumes"]), f"mosquitto: nothing is kept of {place and place[1]}")
    holds(place[1] == OWNED["mosquitto"], f"mosquitto: a volume at {place[1]} is root's")


def units() -> str:
    """systemd's own judgement of what services could reach: 1.5 of 10 at most; and no setting that it does not know."""
    if shutil.which("systemd-analyze") is None:
        raise Skipped("systemd-analyze is not here: apt-get install systemd")
    said = []
    for unit in UNITS:
        judged = attempt("systemd-analyze", "security", "--offline=true", "--threshold=15", unit)
        level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", judged.stdout)
        holds(judged.returncode == 0 and level is not None, judged.stdout)
        # Newer ones know how to wait ever longer.
        unknown = [line for line in re.findall(r".*Unknown.*|.*Failed to parse.*", attempt("systemd-analyze", "verify", unit).stdout)
                   if not re.search("RestartSteps|RestartMaxDelaySec", line)]  # fmt: skip
        holds(not unknown, "\n".join(unknown))
        said.append(f"{unit.stem} {level[1]}")
    for timer in TIMERS:
        wrong = [line for line in attempt("systemd-analyze", "verify", "--man=no", timer).stdout.splitlines() if line.startswith(timer.name)]
        holds(not wrong, "\n".join(wrong))
        holds(timer.with_suffix(".service") in UNITS, f"{timer.name} starts nothing that is here")
    return ", ".join(said)
