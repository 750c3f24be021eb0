//! What an answer means. Real gateways are asked in the whole journeys.

use super::*;

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn only_a_good_answer_of_a_gateway_is_good() {
    assert!(judge(&answer("200 OK", "ok")).is_ok());
    let reasons = r#"{"ready":false,"reasons":["the store cannot be read","nothing records any more"]}"#;
    let said = judge(&answer("503 Service Unavailable", reasons)).unwrap_err().to_string();
    assert_eq!(said, "the store cannot be read; nothing records any more");
    assert_eq!(judge(&answer("403 Forbidden", "{}")).unwrap_err().to_string(), "it answers with 403");
    for nothing in ["", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 2"] {
        assert_eq!(judge(nothing).unwrap_err().to_string(), "what answers there is no gateway");
    }
}
