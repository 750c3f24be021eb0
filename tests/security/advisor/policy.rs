//! The row about the policy of devices at AWS IoT Core: the one that `docs/aws-iot.md` has people attach.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::bench::Bench;
use super::rows::Verdict;

/// In front of every resource.
const ARN: &str = "arn:aws:iot:REGION:ACCOUNT:";
/// What AWS puts the connection's own thing in place of.
const THING: &str = "${iot:Connection.Thing.ThingName}";

/// Security_Device_Policies: the policy has no wildcard, and lets a device do exactly what the agent was seen to do.
pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/aws-iot.md");
    let text = std::fs::read_to_string(&page).with_context(|| format!("read {}", page.display()))?;
    let allowed = allowed(&text)?;
    let (published, subscribed) = bench.summary().topics();
    let needed = |topics: &BTreeSet<String>, kind: &str| -> Vec<String> {
        topics
            .iter()
            .filter(|topic| !topic.contains("claim-"))
            .map(|topic| format!("{kind}/{}", topic.replace("{device}", THING)))
            .collect()
    };
    let uses: Vec<(&str, String)> = needed(&published, "topic")
        .into_iter()
        .map(|resource| ("iot:Publish", resource))
        .chain(needed(&subscribed, "topicfilter").into_iter().map(|resource| ("iot:Subscribe", resource)))
        .chain(needed(&subscribed, "topic").into_iter().map(|resource| ("iot:Receive", resource)))
        .chain([
            ("iot:Connect", format!("client/{THING}")),
            ("iot:RetainPublish", format!("topic/trib/1/{THING}/status")),
        ])
        .collect();
    anyhow::ensure!(uses.len() >= 8, "the agents were not seen to do all they do: {uses:?}");
    for (action, resource) in &uses {
        let may = allowed.iter().any(|(may, on)| may == action && on == resource);
        anyhow::ensure!(may, "the agent needs {action} on {resource}, and the policy lets it not");
    }
    Ok(vec![Verdict::Pass(format!(
        "{} rights, none with a wildcard, each on the connection's own thing; all that the agent was seen to do is among them",
        allowed.len()
    ))])
}

/// Action and resource of each right; refuses wildcards, and resources of others.
fn allowed(page: &str) -> anyhow::Result<Vec<(String, String)>> {
    let json = page.split("```json").skip(1).filter_map(|rest| rest.split("```").next());
    let policy: Value =
        json.filter_map(|text| serde_json::from_str(text).ok()).next().context("no policy on the page")?;
    let list = |value: &Value| -> Vec<String> {
        let one = value.as_str().map(str::to_owned);
        one.into_iter()
            .chain(value.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)))
            .collect()
    };
    let mut all = Vec::new();
    for statement in policy["Statement"].as_array().context("statements")? {
        anyhow::ensure!(statement["Effect"] == "Allow", "{statement}: what AWS denies is easily got around");
        for action in list(&statement["Action"]) {
            for resource in list(&statement["Resource"]) {
                let own = resource.strip_prefix(ARN).with_context(|| format!("a resource of its own: {resource}"))?;
                let is_plain = |text: &str| !text.contains(['*', '?', '+', '#']);
                anyhow::ensure!(is_plain(&action) && is_plain(own), "a wildcard: {action} on {own}");
                anyhow::ensure!(own.contains(THING), "not the connection's own: {action} on {own}");
                if action == "iot:Connect" {
                    let attached = &statement["Condition"]["Bool"]["iot:Connection.Thing.IsAttached"];
                    anyhow::ensure!(attached == "true", "a certificate of another thing might connect: {statement}");
                }
                all.push((action.clone(), own.to_owned()));
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(action: &str, resource: &str) -> String {
        format!(
            "```json\n{{ \"Statement\": [ {{ \"Effect\": \"Allow\", \"Action\": \"{action}\", \"Resource\": \"{resource}\" }} ] }}\n```"
        )
    }

    #[test]
    fn a_policy_that_lets_more_than_the_devices_own_is_refused() {
        let own = format!("{ARN}topic/trib/1/{THING}/batch");
        assert_eq!(allowed(&page("iot:Publish", &own)).unwrap().len(), 1);
        for (action, resource) in [
            ("iot:Publish", "*".to_owned()),
            ("iot:*", own.clone()),
            ("iot:Publish", format!("{ARN}topic/trib/1/*/batch")),
            ("iot:Publish", format!("{ARN}topic/trib/1/{THING}/*")),
            ("iot:Publish", format!("{ARN}topic/trib/1/meter-8/batch")),
            ("iot:Connect", format!("{ARN}client/{THING}")),
        ] {
            assert!(allowed(&page(action, &resource)).is_err(), "{action} on {resource}");
        }
    }
}
