//! Why connections end, and what that means for those at both ends.

use std::io;

use mqtt_protocol_core::mqtt::result_code::DisconnectReasonCode;

use super::held::PipelineGone;
use super::packet::PacketError;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the device disconnected")]
    Left,
    #[error("the device disconnected and asked for its last will")]
    LeftWithWill,
    #[error("the device closed the connection without saying so")]
    Vanished,
    #[error("the connection failed: {0}")]
    Failed(io::Error),
    #[error("nothing was heard from the device for one and a half times its keep alive")]
    Silent,
    #[error("the device did not take what was written to it in time")]
    Slow,
    #[error("protocol error: {0}")]
    Packet(#[from] PacketError),
    #[error("the device published where it has no right to")]
    Denied,
    #[error("a publish was refused, which MQTT 3.1.1 cannot tell")]
    Refused,
    #[error("a publish could not be settled; the device will send it again")]
    Unsettled,
    #[error("a newer connection of the same device took over")]
    TakenOver,
    #[error("the connection was cut: the device's certificate has been revoked")]
    Revoked,
    #[error("the connection was cut by the gateway")]
    Cut,
    #[error("the gateway stops")]
    Stopping,
}

impl End {
    /// What MQTT 5 is told in DISCONNECT; nothing to a device that has gone itself.
    pub(super) fn reason(&self) -> Option<DisconnectReasonCode> {
        Some(match self {
            Self::Left | Self::LeftWithWill | Self::Vanished | Self::Failed(_) | Self::Slow => return None,
            Self::Silent => DisconnectReasonCode::KeepAliveTimeout,
            Self::Packet(error) => error.reason(),
            Self::Denied | Self::Revoked => DisconnectReasonCode::NotAuthorized,
            Self::Refused | Self::Unsettled => DisconnectReasonCode::UnspecifiedError,
            Self::TakenOver => DisconnectReasonCode::SessionTakenOver,
            Self::Cut => DisconnectReasonCode::AdministrativeAction,
            Self::Stopping => DisconnectReasonCode::ServerShuttingDown,
        })
    }

    /// Whether the last will holds. Not when the gateway stops: then the device did not fail, and a server may keep
    /// wills back (OASIS MQTT 5.0, section 3.1.2.5). Nor when the certificate is revoked: whoever has its key says nothing
    /// more in the device's name.
    pub(super) fn leaves_will(&self) -> bool {
        !matches!(self, Self::Left | Self::Stopping | Self::Revoked)
    }
}

impl From<PipelineGone> for End {
    fn from(_: PipelineGone) -> Self {
        Self::Stopping
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Self::Vanished,
            _ => Self::Failed(error),
        }
    }
}
