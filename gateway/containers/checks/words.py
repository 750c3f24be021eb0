"""What Dockerfiles and compose.yaml say."""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile

import jsonschema
import yaml

from common import HERE, TOOLS
from judging import ROOT, Skipped, attempt, holds, run

COMPOSE = HERE / "compose/compose.yaml"
UNITS = (ROOT / "agent/packaging/tributary-agent.service", ROOT / "gateway/packaging/tributary-gateway.service")
DOCKERFILES = (HERE / "Dockerfile", ROOT / "agent/containers/Dockerfile")


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
        for command in _commands(path.read_text()):
            group = re.search(r"--group-add (\S+)", command)
            holds(not group or not group[1][0].isalpha(), f"{path.relative_to(ROOT)}: the image knows no group by the name {group and group[1]}")
            holds(":/etc/tributary:ro" not in command, f"{path.relative_to(ROOT)}: a renewed certificate could not be stored")
    holds(targets == 5, f"{targets} images where 5 were expected")
    return f"{targets} images"


def _commands(text: str) -> list[str]:
    """How the comments of a Dockerfile say that its images are run."""
    lines = re.sub(r"\\\n#", " ", text).splitlines()
    return [line for line in lines if re.match(r"#\s+docker run ", line)]


def compose() -> str:
    """The schema of compose files; no secret within; nothing open but what is meant to be; nobody root."""
    with tarfile.open(TOOLS / "dclint-3.1.0.tgz") as package:
        schema = json.load(package.extractfile("package/schemas/compose.schema.json"))
    file = yaml.safe_load(io.StringIO(COMPOSE.read_text()))
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
            holds(not source.startswith(".") or volume.endswith(":ro"), f"{name}: may change {source}")
            within_here = source.startswith(".") and not source.startswith("./secrets")
            holds(not within_here or (COMPOSE.parent / source).exists(), f"{name}: {source} is not there")
    holds(opened == {"8883:8883", "8884:8883"}, f"open to the world: {sorted(opened)}")
    return f"{len(file['services'])} services"


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
    return ", ".join(said)
