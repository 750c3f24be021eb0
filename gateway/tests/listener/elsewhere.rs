//! One certificate at two gateways: what the other one says counts as if it had happened here.

use tributary_gateway::enrol::registry::Coming;
use tributary_gateway::ingest::Event;

use crate::rig::{Rig, connect, device};

fn meter(serial: &str, is_there: bool) -> Coming {
    Coming { device: device("meter-7"), serial: serial.into(), is_there }
}

#[tokio::test]
async fn the_newer_of_two_connections_at_two_gateways_has_the_place_for_a_minute_unless_it_leaves() {
    let mut rig = Rig::start().await;
    assert!(rig.control.news().is_empty(), "nobody asks");
    rig.control.follow();
    let (mut client, link) = rig.connect("meter-7", 5).await;
    assert_eq!(rig.control.news(), [(link.connection, meter("07", true))]);
    assert!(!rig.control.heard(9, &meter("07", true)), "ours will be told later, and is the newer one then");
    rig.control.noted(&device("meter-7"), link.connection, 5);
    assert!(!rig.control.heard(4, &meter("07", true)), "an older one");
    assert!(!rig.control.heard(6, &meter("08", true)), "another certificate: it was renewed");
    assert!(rig.control.heard(6, &meter("07", true)));
    assert_eq!(client.packet().await, (0xE0, vec![0x8E]));
    assert!(rig.closed().await.contains("took over"));
    assert_eq!(rig.control.news(), [(link.connection, meter("07", false))]);

    for is_first in [true, false] {
        let mut again = rig.tls("meter-7").await;
        again.send(&connect(5, "meter-7", 60, None)).await;
        assert_eq!(again.packet().await, (0x20, vec![0, 0x89, 0]), "a copy");
        if is_first {
            assert!(matches!(rig.event().await, Event::Contested { .. }), "which is an alarm, once");
        }
    }
    let (_other, _link) = rig.connect("meter-8", 5).await;
    assert!(!rig.control.heard(7, &meter("07", false)));
    let (_client, _link) = rig.connect("meter-7", 5).await;
    rig.stop().await;
}
