//! All rows that AWS IoT Device Advisor has, and what can be said of one.

use serde_json::{Value, json};

/// Its test cases by their ids; those of the long run by theirs.
pub(super) const ALL: [&str; 38] = [
    "TLS_Connect",
    "TLS_Receive_Maximum_Size_Fragments",
    "TLS_Support_AWS_IoT_Cipher_Suites",
    "TLS_Large_Size_Server_Cert",
    "TLS_Unsecure_Server_Cert",
    "TLS_Incorrect_Subject_Name_Server_Cert",
    "TLS_Expired_Server_Cert",
    "MQTT_Connect",
    "MQTT_Client_Puback_Qos1",
    "MQTT_Connect_Jitter_Backoff_Retries",
    "MQTT_Connect_Exponential_Backoff_Retries",
    "MQTT_Reconnect_Backoff_Retries_On_Server_Disconnect",
    "MQTT_Reconnect_Backoff_Retries_On_Unstable_Connection",
    "MQTT_Publish",
    "MQTT_Publish_Retry_No_Puback",
    "MQTT_Subscribe",
    "MQTT_Subscribe_Retry_No_Suback",
    "MQTT_No_Ack_PingResp",
    "MQTT_Persistent_Session_Happy_Case",
    "MQTT_Expired_Persistent_Session",
    "Shadow_Publish_Reported_State",
    "Shadow_Update_Reported_State",
    "Job_Execution",
    "Security_Device_Policies",
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
    "Long: INTERMITTENT_CONNECTIVITY",
    "Long: RECONNECT_BACK_OFF",
    "Long: LONG_SERVER_DISCONNECT",
    "Long: ADDITIONAL_EXECUTION_TIME",
];

/// What is said of a row, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass(String),
    /// It does what the row asks for, and something about it is worth knowing.
    Warning(String),
    /// It does otherwise, on purpose; what it does instead was seen.
    Deviation(String),
    NotApplicable(String),
    Failed(String),
    /// Could not be tried here: never a pass.
    Skipped(String),
}

impl Verdict {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Pass(_) => "pass",
            Self::Warning(_) => "pass with warning",
            Self::Deviation(_) => "deviation",
            Self::NotApplicable(_) => "not applicable",
            Self::Failed(_) => "FAILED",
            Self::Skipped(_) => "skipped",
        }
    }

    pub(super) fn why(&self) -> &str {
        match self {
            Self::Pass(why)
            | Self::Warning(why)
            | Self::Deviation(why)
            | Self::NotApplicable(why)
            | Self::Failed(why)
            | Self::Skipped(why) => why,
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({ "verdict": self.word(), "why": self.why() })
    }
}
