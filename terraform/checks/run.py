"""All that can be said of terraform/ without an account: see terraform/README.md, "Checks"."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import judging
from judging import AT_ONCE, ROOT, Fault, Skipped
from provider import serving

HERE = Path(__file__).resolve().parent
TERRAFORM = HERE.parent
TOOLS = ROOT / "target/terraform"
PROVIDER = TOOLS / "cdktf-provider-aws-21.22.1.tgz"
USED = re.compile(r'^(resource|data) "(aws_\w+)"', re.M)


# A command that reaches for nothing beyond this machine, and yet may be slow.
run = functools.partial(judging.run, seconds=300, cwd=TERRAFORM)


def terraform() -> str:
    """Where Terraform is, or OpenTofu, which takes the same."""
    for name in ("terraform", "tofu"):
        if found := shutil.which(name):
            return found
    raise Skipped("neither terraform nor tofu is on this machine")


def modules() -> list[Path]:
    """Each folder with a configuration of its own: modules first, then environments."""
    return sorted({path.parent for path in TERRAFORM.glob("modules/*/*.tf")}) + sorted(
        {path.parent for path in TERRAFORM.glob("environments/*/*.tf")}
    )


def used() -> set[str]:
    """Each resource and data source that is used anywhere."""
    found = set()
    for path in TERRAFORM.rglob("*.tf"):
        for kind, name in USED.findall(path.read_text()):
            found.add(name if kind == "resource" else f"data.{name}")
    return found


def formatting() -> str:
    """As `terraform fmt` writes it."""
    run(terraform(), "fmt", "-check", "-diff", "-recursive", "-no-color")
    return "as terraform fmt writes it"


def described() -> str:
    """Each variable says what it is and of what type, each output what it is."""
    variables, outputs = 0, 0
    for path in TERRAFORM.rglob("*.tf"):
        for kind, name, body in re.findall(r'^(variable|output) "(\w+)" \{\n(.*?)^\}', path.read_text(), re.M | re.S):
            variables, outputs = variables + (kind == "variable"), outputs + (kind == "output")
            for wanted in ("description", "type") if kind == "variable" else ("description",):
                if not re.search(rf"^  {wanted} +=", body, re.M):
                    raise Fault(f"{path.relative_to(TERRAFORM)}: {kind} {name} has no {wanted}")
    if not variables or not outputs:
        raise Fault("there are no variables or outputs where they are looked for")
    return f"{variables} variables, {outputs} outputs"


def reached() -> str:
    """What can be set for the whole is set by each environment, and what an environment lets be set counts there."""
    whole = set(re.findall(r'^variable "(\w+)"', (TERRAFORM / "modules/tributary/variables.tf").read_text(), re.M))
    common = set(re.findall(r'^variable "(\w+)"', (TERRAFORM / "common/variables.tf").read_text(), re.M))
    environments = sorted((TERRAFORM / "environments").iterdir())
    for folder in environments:
        said = "".join((folder / name).read_text() for name in ("main.tf", "versions.tf"))
        if unset := whole - set(re.findall(r"^  (\w+) += ", said, re.M)):
            raise Fault(f"environments/{folder.name} has no way to set {sorted(unset)}")
        if unread := common - set(re.findall(r"\bvar\.(\w+)", said)):
            raise Fault(f"environments/{folder.name} does not read {sorted(unread)}")
    return f"{len(whole)} variables, from {len(environments)} environments"


def targets() -> str:
    """What README.md applies alone, or takes out of the state, is there: of a target that is not, Terraform says nothing."""
    named = set(re.findall(r"\bmodule\.tributary\.module\.(\w+)(?:\.(\w+)\.(\w+))?", (TERRAFORM / "README.md").read_text()))
    for module, kind, name in named:
        folder = TERRAFORM / "modules" / module
        if not folder.is_dir() or (kind and f'resource "{kind}" "{name}"' not in "".join(path.read_text() for path in folder.glob("*.tf"))):
            raise Fault(f"README.md: there is no {kind} {name} in modules/{module}")
    if not named:
        raise Fault("README.md names no target where they are looked for")
    return f"{len(named)} targets"


# Stand in for `aws` and `terraform`, and for `jq` as far as it is needed.
SETUP = """#!/bin/sh
case "$0 $*" in
*/terraform*) echo '{"cluster": "here", "task": "here-setup", "network": "{}"}' ;;
*run-task*--task-definition*here-setup*) echo "$TASK" ;;
*wait*tasks-stopped*arn:task*) ;;
*describe-tasks*) printf "$ENDED" ;;
*) echo "strange: $*"; exit 2 ;;
esac
"""
JQ = """#!/bin/sh
exec python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1][1:]])' "$2"
"""


def setup() -> str:
    """The script that runs the set-up is content where all of it ended well, and with nothing else."""
    well = "files\\t0\\nroles\\t0\\nmigrate\\t0\\n"
    failed, never_ran = well.replace("migrate\\t0", "migrate\\t1"), well.replace("migrate\\t0", "migrate\\tNone")
    cases = [("arn:task", well, 0), ("None", well, 1), ("arn:task", failed, 1), ("arn:task", never_ran, 1), ("arn:task", "", 1)]
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("aws", SETUP), ("terraform", SETUP), ("jq", JQ)):
            Path(folder, name).write_text(text)
            Path(folder, name).chmod(0o755)
        for task, ended, code in cases:
            done = judging.attempt(TERRAFORM / "setup", PATH=f"{folder}:{os.environ['PATH']}", TASK=task, ENDED=ended)
            if done.returncode != code:
                raise Fault(f"with the task {task} and {ended!r}, setup ended with {done.returncode} rather than {code}:\n{done.stdout}")
    return f"{len(cases)} ends"


def against_the_schema() -> str:
    """Every resource, block, argument, type and reference against the AWS provider's schema; then the modules' tests."""
    with serving(PROVIDER, used()) as found, tempfile.TemporaryDirectory() as data, ThreadPoolExecutor(AT_ONCE) as pool:
        tests = sum(pool.map(lambda module: _against_the_schema(module, found | {"TF_DATA_DIR": f"{data}/{module.name}"}), modules()))
    if tests == 0:
        raise Fault("no test ran at all")
    return f"{len(modules())} modules and environments, {len(used())} kinds of resources, {tests} tests"


def _against_the_schema(module: Path, at: dict[str, str]) -> int:
    """One module or environment; how many tests it has."""
    program, at = terraform(), at | {"CHECKPOINT_DISABLE": "1"}
    run(program, "init", "-backend=false", "-input=false", "-no-color", cwd=module, **at)
    run(program, "validate", "-no-color", cwd=module, **at)
    if not (module / "tests").is_dir():
        return 0
    told = run(program, "test", "-no-color", cwd=module, **at)
    if not (passed := re.search(r"^Success! (\d+) passed, 0 failed", told, re.M)):
        raise Fault(f"{module.name}: no test ran\n{told}")
    return int(passed[1])


def settings() -> str:
    """What gateways are handed over, by the gateway itself."""
    gateway = Path(os.environ.get("TRIBUTARY_GATEWAY") or ROOT / "target/debug/tributary-gateway")
    if not gateway.exists():
        raise Skipped("no tributary-gateway has been built: cargo build -p tributary-gateway")
    program = terraform()
    cases = json.loads((HERE / "settings.json").read_text())
    template = TERRAFORM / "modules/gateway/gateway.toml.tftpl"
    for name, variables in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            variables |= {"folder": folder, "state": folder}
            Path(folder, "main.tf").write_text(
                f'output "it" {{\n  value = templatefile("{template}", jsondecode(file("variables.json")))\n}}\n'
            )
            Path(folder, "variables.json").write_text(json.dumps(variables))
            run(program, "init", "-input=false", "-no-color", cwd=Path(folder))
            run(program, "apply", "-auto-approve", "-input=false", "-no-color", cwd=Path(folder))
            written = run(program, "output", "-raw", "it", cwd=Path(folder))
            Path(folder, "gateway.toml").write_text(written.replace("@INSTANCE@", "task-1"))
            # Its files are not there; but a setting that it does not know, or that cannot be, comes first.
            try:
                run(gateway, "check-config", "--config", f"{folder}/gateway.toml")
            except Fault as fault:
                if f"cannot open {folder}/" not in str(fault):
                    raise Fault(f"{name}: {fault}") from fault
    return f"{len(cases)} configurations, taken by {gateway.name}"


def cloudformation() -> str:
    """Device Defender's template against AWS's own schema."""
    run(TOOLS / "python/bin/cfn-lint", "--regions", "eu-central-1", "--", "modules/iot/defender.yaml")
    return "modules/iot/defender.yaml"


def rules() -> str:
    """checkov's rules; each exception stands beside what it is about, with its reason."""
    told = run(TOOLS / "python/bin/checkov", "--directory", ".", "--framework", "terraform", "--compact", "--soft-fail",
               "--skip-download", "--download-external-modules", "false", "--output", "json", LOG_LEVEL="ERROR")  # fmt: skip
    found = json.loads(told)
    summary, results = found["summary"], found["results"]
    if summary["passed"] == 0 or summary["parsing_errors"]:
        raise Fault(f"checkov did not read all: {summary}")
    faults = {f"{one['check_id']} {one['repo_file_path']}:{one['file_line_range'][0]} {one['check_name']}" for one in results["failed_checks"]}
    bare = {f"{one['check_id']} {one['repo_file_path']}: an exception without a reason" for one in results["skipped_checks"]
            if len(one["check_result"].get("suppress_comment") or "") < 20}  # fmt: skip
    if faults | bare:
        raise Fault("\n".join(sorted(faults | bare)))
    return f"{summary['passed']} passed, {summary['skipped']} excepted with a reason"


def metrics() -> str:
    """What is alarmed of is counted by gateways, under that name, and is carried to where the alarm looks; of what ends by
    itself there is an alarm in each place."""
    counted = set()
    for source in ("gateway/src/metrics.rs", "gateway/src/api/metrics.rs"):
        counted |= set(re.findall(r'"(tributary_\w+)"', (ROOT / source).read_text()))
    carried_by = re.search(r'regex: "(tributary_.*)"', (TERRAFORM / "modules/gateway/metrics.yaml.tftpl").read_text())
    if not counted or carried_by is None:
        raise Fault("there are no metrics where they are looked for")
    alarmed = set(re.findall(r'"(tributary_\w+)"', (TERRAFORM / "modules/alarms/alarms.tf").read_text()))
    on_one_host = set(re.findall(r"tributary_\w+", (ROOT / "gateway/containers/compose/alarms.yaml").read_text()))
    carried = {name for name in counted if re.fullmatch(carried_by[1], name)}
    if unknown := (alarmed | on_one_host) - counted:
        raise Fault(f"no gateway counts {sorted(unknown)}")
    ends = {name for name in counted if name.endswith("_seconds_left")}
    if untold := ends - (alarmed & on_one_host):
        raise Fault(f"nobody is told before {sorted(untold)} has come to its end, here or on one host")
    if lost := alarmed - carried:
        raise Fault(f"CloudWatch never hears of {sorted(lost)}")
    if len(carried) != carried_by[1].count("|") + 1:
        raise Fault("the collector carries a name that no gateway counts")
    if unlike := _kinds() ^ kinds_raised():
        raise Fault(f"gateways raise, or alarms know, alone: {sorted(unlike)}")
    return f"{len(alarmed | on_one_host)} alarmed, {len(carried)} carried, {len(counted)} counted"


def kinds_raised() -> set[str]:
    """The kinds of alarms that gateways raise."""
    source = (ROOT / "gateway/src/store/alarm.rs").read_text()
    return set(re.findall(r'^ +Self::\w+ => "(\w+)",$', source, re.M))


def _kinds() -> set[str]:
    """The kinds that there is an alarm for."""
    alarms = (TERRAFORM / "modules/alarms/alarms.tf").read_text()
    return set(re.findall(r"^    (\w+) +=", re.search(r"^  kinds = \{$(.*?)^  \}", alarms, re.M | re.S)[1], re.M))


def costs() -> str:
    """The sums in README.md are right, and are about as many alarms, metrics and secrets as there are."""
    table = (TERRAFORM / "README.md").read_text().partition("\n| | dev, ")[2].partition("\n\n")[0]
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    told = {name: cells for name, *cells in rows}
    totals = told.pop("a month", ["0"] * 3)
    for column, total in enumerate(totals):
        spent = 0.0
        for name, cells in told.items():
            sums, _, result = cells[column].rpartition(" = ")
            result = float(re.search(r"\d+\.\d", result)[0])
            if re.search(r"[^0-9.+×() ]", sums) or (sums and abs(eval(sums.replace("×", "*")) - result) > 0.06):
                raise Fault(f"README.md: {name}: {sums} is not {result}")
            spent += result
        if round(spent) != int(re.match(r"\d+", total)[0]):
            raise Fault(f"README.md: a month is {spent:.1f} and not {total}")
    alarms = (TERRAFORM / "modules/alarms/alarms.tf").read_text()
    names = [name for group in ("always", "people") for name in
             re.findall(r"^    ([\w-]+) = \{$", re.search(rf"^  {group} = .*?\{{$(.*?)^  \}}", alarms, re.M | re.S)[1], re.M)]  # fmt: skip
    carried = re.search(r"tributary_\((.*)\)", (TERRAFORM / "modules/gateway/metrics.yaml.tftpl").read_text())[1].count("|") + 1
    kinds = len(_kinds())
    levels = re.search(r"^  doctor = \{(.*)\}", alarms, re.M)[1].count(" = ")
    files = re.search(r"^  files = merge\(\n    \{\n(.*?)^    \}", (TERRAFORM / "modules/tributary/main.tf").read_text(), re.M | re.S)[1].count("\n")
    for name, begins in (("alarms", f"({len(names)} + {kinds}) × 0.10"), ("metrics", f"({carried} + {kinds} + {levels}) × 0.30"), ("secrets and key", f"{files + 1} × 0.40")):
        if not told[name][0].startswith(begins):
            raise Fault(f"README.md: {name} should begin with {begins}, and not {told[name][0]}")
    return f"{len(told)} rows, {len(names) + kinds} alarms, {carried + kinds + levels} metrics, {files} files"


def doctor() -> str:
    """What alarms look for in the doctor's lines is there: each fault, and each thing that could not be looked at but a broker."""
    doctor = ROOT / "gateway/src/doctor"
    source = "".join(path.read_text() for path in (doctor.with_suffix(".rs"), *doctor.glob("*.rs")))
    examined = set(re.findall(r'(?:const \w+: &str = |Finding::\w+\()"([\w-]+)"', source))
    if "broker" not in examined or '"{level:<7}  {check:<12}  {line}"' not in source:
        raise Fault("gateway/src/doctor writes its lines in another way than terraform/checks/run.py says")
    alarms = (TERRAFORM / "modules/alarms/alarms.tf").read_text()
    for level in ("ok", "warning", "unknown", "fault"):
        pattern = re.search(rf'\b{level} += "%(.*?)%"', alarms)
        for name in examined:
            line = f"{level:<7}  {name:<12}  what was found"
            wanted = level == "fault" or (level == "unknown" and name != "broker")
            if wanted != bool(pattern and re.search(pattern[1], line)):
                raise Fault(f"`{line}` {'raises no alarm' if wanted else 'raises an alarm'}: modules/alarms/alarms.tf")
    return f"lines of {len(examined)} checks"


# What takes longest begins first.
CHECKS: list[tuple[str, Callable[[], str]]] = [
    ("schema", against_the_schema),
    ("checkov", rules),
    ("formatting", formatting),
    ("described", described),
    ("reached", reached),
    ("targets", targets),
    ("setup", setup),
    ("settings", settings),
    ("metrics", metrics),
    ("doctor", doctor),
    ("costs", costs),
    ("cloudformation", cloudformation),
]


if __name__ == "__main__":
    # A configuration of Terraform's command line is a person's own, and not needed here.
    for variable in [name for name in os.environ if name.startswith("TF_")]:
        del os.environ[variable]
    sys.exit(judging.judge(CHECKS, sys.argv[1:]))
