//! What devices publish, by the sample configurations.

use super::*;

fn sample() -> Vec<Configured> {
    let text = std::fs::read_to_string("src/source/mqtt/sample.toml").unwrap();
    let mut table: toml::Table = toml::from_str(&text).unwrap();
    let sources = table.remove("source").unwrap();
    let sources: Vec<Configured> = sources.try_into().unwrap();
    sources.iter().for_each(|source| source.validate().unwrap());
    sources
}

#[test]
fn the_sample_names_every_setting_and_states_the_defaults() {
    let sources = sample();
    let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["zigbee", "tasmota", "home", "esphome", "plant"]);
    let first = settings_of(&sources[0]);
    let bare = configured(
        "name = \"s\"\ntype = \"mqtt\"\nhost = \"127.0.0.1\"\n[[topics]]\nfilter = \"a\"\nseries = [{ pointer = \"\", name = \"a\" }]",
    );
    let bare = settings_of(&bare);
    let (port, client_id) = (Some(1_883), Some("tributary-zigbee".to_owned()));
    assert_eq!(first, Settings { port, client_id, topics: first.topics.clone(), ..bare });
    let text = std::fs::read_to_string("src/source/mqtt/sample.toml").unwrap();
    let all = "nothing_like_it = 1\nname = \"s\"\ntype = \"mqtt\"\nhost = \"h\"\ntopics = []";
    let error = toml::from_str::<Configured>(all).unwrap_err().to_string();
    let known: Vec<&str> = error.split('`').skip(1).step_by(2).filter(|word| *word != "nothing_like_it").collect();
    assert!(known.len() > 15, "{error}");
    for setting in known {
        assert!(text.contains(&format!("{setting} =")) || text.contains(&format!(".{setting}]]")), "{setting}");
    }
}

#[test]
fn what_devices_publish_becomes_what_the_golden_files_say() {
    for source in sample().iter().filter(|source| source.name != "plant") {
        let path = format!("src/source/mqtt/testdata/{}", source.name);
        let mut bench = Bench::up(&settings_of(source), None);
        for (line, place) in std::fs::read_to_string(format!("{path}.txt")).unwrap().lines().zip(1..) {
            // Topics may have spaces, and what is JSON says where it begins.
            let at = line.find(" {").or_else(|| line.find(' ')).unwrap();
            bench.message(place, &line[..at], &line[at + 1..]);
        }
        assert_golden(&format!("mqtt/testdata/{}.golden", source.name), &bench.told());
    }
}

#[test]
fn two_topics_never_become_one_series() {
    let text = "name = \"s\"\ntype = \"mqtt\"\nhost = \"::1\"\n\
                [[topics]]\nfilter = \"a/+/+\"\nseries = [{ pointer = \"\", name = \"{1}.{2}\" }]";
    let mut bench = Bench::up(&settings_of(&configured(text)), None);
    bench.message(1, "a/x.y/z", "1");
    bench.message(2, "a/x/y.z", "2");
    bench.message(3, "a/x.y/z", "3");
    assert_eq!(bench.samples().count(), 2);
    assert!(bench.told()[2].contains("would be mixed"), "{:?}", bench.told());
    // Whoever may publish can make no more series than a body holds.
    for number in 0..1_100 {
        bench.message(4, &format!("a/n{number}/z"), "1");
    }
    assert_eq!(bench.samples().count(), 2 + 1_023);
    assert!(bench.told().last().unwrap().contains("1024"));
}
