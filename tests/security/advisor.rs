//! The offline twin of AWS IoT Device Advisor: a scripted server against the unmodified agent, a row for each of its test
//! cases, each with its verdict. What the agent does otherwise on purpose is a deviation: named, and seen to be so.
//!
//! A row's script is plain code on a thread of its own, with its own port and agent. Where the agent waits for minutes,
//! it runs as it is shipped by clocks that run fast.

use std::collections::BTreeMap;

use serde_json::json;

mod backoff;
mod bench;
mod client_hello;
mod door;
mod exchange;
mod host;
mod line;
mod long;
mod policy;
mod rows;
mod sessions;
mod summary;
mod tls;
mod trust;
mod unanswered;
mod waits;

use crate::part::{Found, Plan};
use bench::{Bench, NO_FAKETIME};
use rows::{ALL, Verdict};

/// What finds the verdicts of some rows.
type Run = fn(&Bench) -> anyhow::Result<Vec<Verdict>>;

/// Rows, and what finds their verdicts, in the same order.
type Script = (&'static [&'static str], Run);

/// Scripts that wait more than they work: their times count.
const PATIENT: &[Script] = &[
    (&["MQTT_Connect_Jitter_Backoff_Retries", "MQTT_Connect_Exponential_Backoff_Retries"], backoff::no_connack),
    (&["MQTT_Reconnect_Backoff_Retries_On_Server_Disconnect", "Long: RECONNECT_BACK_OFF"], backoff::server_disconnect),
    (&["MQTT_Reconnect_Backoff_Retries_On_Unstable_Connection"], backoff::unstable),
    (&["MQTT_Publish_Retry_No_Puback"], unanswered::no_puback),
    (&["MQTT_Subscribe_Retry_No_Suback"], unanswered::no_suback),
    (&["MQTT_No_Ack_PingResp"], unanswered::silence),
    (
        &[
            "Long: CONNECT",
            "Long: PUBLISH_QOS0",
            "Long: PUBLISH_QOS1",
            "Long: SUBSCRIBE_QOS0",
            "Long: SUBSCRIBE_QOS1",
            "Long: RECONNECT",
            "Long: PUBACK_QOS_1",
            "Long: RECEIVE_LARGE_PAYLOAD",
            "Long: PERSISTENT_SESSION",
            "Long: KEEP_ALIVE",
            "Long: ADDITIONAL_EXECUTION_TIME",
        ],
        long::run,
    ),
    (&["Long: INTERMITTENT_CONNECTIVITY"], sessions::intermittent),
    (&["Long: LONG_SERVER_DISCONNECT"], sessions::long_disconnect),
];

/// Scripts that keep a processor busy.
const BUSY: &[Script] = &[
    (&["TLS_Connect"], tls::connect),
    (&["TLS_Receive_Maximum_Size_Fragments"], tls::fragments),
    (&["TLS_Support_AWS_IoT_Cipher_Suites"], tls::suites),
    (&["TLS_Large_Size_Server_Cert"], tls::large),
    (&["TLS_Unsecure_Server_Cert"], trust::unsecured),
    (&["TLS_Incorrect_Subject_Name_Server_Cert"], trust::other_names),
    (&["TLS_Expired_Server_Cert"], trust::expired),
    (&["MQTT_Connect", "MQTT_Publish", "MQTT_Subscribe"], exchange::basics),
    (&["MQTT_Client_Puback_Qos1"], exchange::pubacks),
    (&["MQTT_Persistent_Session_Happy_Case", "MQTT_Expired_Persistent_Session"], sessions::sessions),
];

/// Scripts that judge what the others have seen.
const AFTERWARDS: &[Script] = &[
    (&["Security_Device_Policies"], policy::run),
    (&["Shadow_Publish_Reported_State", "Shadow_Update_Reported_State", "Job_Execution"], absent),
];

/// How many times slower clocks run where scripts are tried again.
const SLOWER: u32 = 3;

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let bench = Bench::open(plan, 1)?;
    let mut verdicts = try_all(&bench, PATIENT);
    let again = again(plan, &bench, &mut verdicts)?;
    verdicts.extend(try_all(&bench, BUSY));
    verdicts.extend(try_all(&bench, AFTERWARDS));
    let mut found = report(&bench, &verdicts)?;
    found.measured("device_advisor_scripts_tried_again", again as u64);
    Ok(found)
}

/// All of `scripts` at once: a verdict for each of their rows.
fn try_all(bench: &Bench, scripts: &[Script]) -> BTreeMap<&'static str, Verdict> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = scripts.iter().map(|(ids, run)| (*ids, scope.spawn(|| run(bench)))).collect();
        let result = threads.into_iter().flat_map(|(ids, thread)| {
            of_script(ids, thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the script panicked"))))
        });
        result.collect()
    })
}

/// What failed by clocks that run so fast that a moment's pause of the machine is seconds to the agent is tried again by slower
/// ones, whose verdict holds. Answers how many scripts were.
fn again(plan: &Plan, bench: &Bench, verdicts: &mut BTreeMap<&'static str, Verdict>) -> anyhow::Result<usize> {
    let has_failed = |id: &&str| matches!(verdicts.get(id), Some(Verdict::Failed(_)));
    let failed: Vec<Script> = PATIENT.iter().filter(|(ids, _)| ids.iter().any(has_failed)).copied().collect();
    if !failed.is_empty() {
        let slower = Bench::open(&Plan { folder: plan.folder.join("slower"), ..plan.clone() }, SLOWER)?;
        verdicts.extend(try_all(&slower, &failed));
        bench.sum_up(slower.summary());
    }
    Ok(failed.len())
}

fn absent(_: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let no = |what: &str| Verdict::NotApplicable(what.to_owned());
    Ok(vec![
        no("the agent has no shadow: what it is to do stands in its configuration file"),
        no("the same"),
        no("the agent takes no jobs: it is updated by its package"),
    ])
}

/// A verdict for each id, whatever became of the script.
fn of_script(ids: &[&'static str], result: anyhow::Result<Vec<Verdict>>) -> Vec<(&'static str, Verdict)> {
    let for_all = |verdict: &Verdict| ids.iter().map(|id| (*id, verdict.clone())).collect();
    match result {
        Ok(verdicts) if verdicts.len() == ids.len() => ids.iter().copied().zip(verdicts).collect(),
        Ok(verdicts) => for_all(&Verdict::Failed(format!("{} verdicts", verdicts.len()))),
        Err(error) => {
            let why = format!("{error:#}");
            for_all(&if why.contains(NO_FAKETIME) { Verdict::Skipped(why) } else { Verdict::Failed(why) })
        }
    }
}

fn report(bench: &Bench, verdicts: &BTreeMap<&'static str, Verdict>) -> anyhow::Result<Found> {
    let mut found = Found::default();
    anyhow::ensure!(
        verdicts.len() == ALL.len() && ALL.iter().all(|id| verdicts.contains_key(id)),
        "a row without a verdict, or a verdict without its row"
    );
    for id in ALL {
        let verdict = &verdicts[id];
        found.said.push(format!("{:<17} {id}: {}", verdict.word(), verdict.why()));
        let figure = match verdict {
            Verdict::Pass(_) => "device_advisor_passed",
            Verdict::Warning(_) => "device_advisor_passed_with_warning",
            Verdict::Deviation(_) => "device_advisor_deviations",
            Verdict::NotApplicable(_) => "device_advisor_not_applicable",
            Verdict::Failed(why) => {
                found.wrong(format!("{id}: {why}"));
                "device_advisor_failed"
            }
            Verdict::Skipped(why) => {
                found.skipped.push(format!("{id}: {why}"));
                "device_advisor_skipped"
            }
        };
        found.count(figure, 1);
    }
    found.measured("device_advisor_rows", ALL.len() as u64);
    let rows: BTreeMap<_, _> = verdicts.iter().map(|(id, verdict)| (*id, verdict.json())).collect();
    found.details.insert("device_advisor", json!({ "rows": rows, "summary": bench.summary().json(&bench.backoff()) }));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_has_a_script_and_every_script_its_rows() {
        let scripts = [PATIENT, BUSY, AFTERWARDS].concat();
        let ids: Vec<&str> = scripts.iter().flat_map(|(ids, _)| ids.iter().copied()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>(), ALL.iter().collect::<BTreeSet<_>>());
        assert_eq!(ids.len(), ALL.len(), "a row with two scripts");
    }

    #[test]
    fn a_script_that_fails_fails_all_of_its_rows_and_only_a_missing_tool_is_a_skip() {
        let of =
            |result| of_script(&["A", "B"], result).into_iter().map(|(_, verdict)| verdict.word()).collect::<Vec<_>>();
        assert_eq!(of(Err(anyhow::anyhow!("no PUBACK"))), ["FAILED", "FAILED"]);
        assert_eq!(of(Ok(vec![Verdict::Pass(String::new())])), ["FAILED", "FAILED"]);
        assert_eq!(of(Err(anyhow::anyhow!(NO_FAKETIME).context("start"))), ["skipped", "skipped"]);
    }
}
