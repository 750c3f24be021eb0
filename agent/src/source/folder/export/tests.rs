use super::*;
use crate::source::testing::told;

/// Everything that a file's text becomes, as lines.
fn all(vendor: Vendor, dates: Option<Order>, text: &str) -> Result<Vec<String>, String> {
    let mut export = Export::new(vendor, dates, TimeZone::get("Europe/Berlin").unwrap());
    let mut rows = Vec::new();
    for line in text.lines() {
        if export.has_header() {
            export.weigh(line.as_bytes());
            rows.push(line);
        } else {
            export.look_for_header(line.as_bytes());
        }
    }
    if !export.has_header() {
        return Err("no header".into());
    }
    export.decide()?;
    let mut lines = Vec::new();
    for row in rows {
        match export.read(row.as_bytes()) {
            Ok(Some(exported)) => {
                lines.extend(exported.samples.iter().map(told));
                lines.extend(exported.problem);
            }
            Ok(None) => {}
            Err(problem) => lines.push(problem),
        }
    }
    Ok(lines)
}

const CLARITY: &str = "Index,Timestamp (YYYY-MM-DDThh:mm:ss),Event Type,Event Subtype,Patient Info,Device Info,Source Device ID,\
                       Glucose Value (mg/dL),Insulin Value (u),Carb Value (grams),Duration (hh:mm:ss),Glucose Rate of Change \
                       (mg/dL/min),Transmitter Time (Long Integer),Transmitter ID";
const LIBRE: &str = "Device,Serial Number,Device Timestamp,Record Type,Historic Glucose mg/dL,Scan Glucose mg/dL,Non-numeric \
                     Rapid-Acting Insulin,Rapid-Acting Insulin (units),Non-numeric Food,Carbohydrates (grams),Carbohydrates \
                     (servings),Non-numeric Long-Acting Insulin,Long-Acting Insulin Value (units),Notes,Strip Glucose mg/dL,\
                     Ketone mmol/L,Meal Insulin (units),Correction Insulin (units),User Change Insulin (units)";

#[test]
fn the_unit_is_the_one_that_the_header_says() {
    let row = "7,2026-03-01T12:00:00,EGV,,,,phone,5.4,,,,-0.1,1,X";
    let mmol = CLARITY.replace("mg/dL", "mmol/L");
    let found = all(Vendor::Clarity, None, &format!("{mmol}\n{row}")).unwrap();
    assert_eq!(
        found,
        [
            "source 1772362800000000 glucose [mmol/L] gauge 5.4 offset 60",
            "source 1772362800000000 glucose.rate [mmol/L/min] gauge -0.1 offset 60"
        ]
    );
    assert_eq!(all(Vendor::Clarity, None, &CLARITY.replace("mg/dL", "stones")), Err("no header".into()));
}

#[test]
fn words_for_what_is_beyond_the_range_are_states_and_other_words_are_rejected_without_being_repeated() {
    let found = |word: &str| {
        all(Vendor::Clarity, None, &format!("{CLARITY}\n7,2026-03-01T12:00:00,EGV,,,,,{word},,,,,,")).unwrap()
    };
    assert!(found("Low")[0].ends_with("glucose [mg/dL] gauge low(39) offset 60"), "{:?}", found("Low"));
    assert!(found("HIGH")[0].ends_with("high(401) offset 60"));
    assert_eq!(found("Niedrig"), ["glucose is no number"]);
    for wrong in ["1,234.5", "1e3", "NaN", "12 3", "--5"] {
        assert_eq!(found(&format!("\"{wrong}\"")), ["glucose is no number"], "{wrong}");
    }
    assert_eq!(found(""), ["glucose is empty"]);
}

#[test]
fn what_is_said_of_the_person_is_not_kept() {
    let text = format!(
        "{CLARITY}\n1,,FirstName,,Jane,,,,,,,,,\n2,,LastName,,Doe,,,,,,,,,\n3,,DateOfBirth,,1990-01-01,,,,,,,,,\n\
         4,,Device,,,Dexcom G6 Mobile App,phone,,,,,,,\n5,,Alert,Fall,,,phone,,,,,3,,"
    );
    assert_eq!(all(Vendor::Clarity, None, &text), Ok(Vec::new()));
}

#[test]
fn semicolons_with_decimal_commas_and_tabs_are_found_by_the_header() {
    let german = "Gerät;Seriennummer;Gerätezeitstempel;Aufzeichnungstyp;Glukosewert-Verlauf mmol/L;Glukose-Scan mmol/L;a;b;c;d;e;\
                  f;g;Notizen;Glukose-Teststreifen mmol/L;Keton mmol/L;h;i;j";
    let row = "FreeStyle LibreLink;1D48A10E;24-03-2026 09:51;0;5,4;;;;;;;;;;;;;;";
    let found = all(Vendor::Libreview, None, &format!("Glukose-Werte;erstellt am\n{german}\n{row}")).unwrap();
    assert_eq!(found, ["source 1774342260000000 glucose [mmol/L] gauge 5.4 offset 60"]);
    let tabs = format!("{}\n{}", LIBRE.replace(',', "\t"), "F\t1\t24-03-2026 09:51\t1\t\t97");
    let found = all(Vendor::Libreview, None, &tabs).unwrap();
    assert_eq!(found, ["source 1774342260000000 glucose.scan [mg/dL] gauge 97 offset 60"]);
}

#[test]
fn dates_that_can_be_read_in_two_ways_are_not_read() {
    let row = |date: &str| format!("{LIBRE}\nF,1,{date} 9:51 AM,0,97,");
    assert!(all(Vendor::Libreview, None, &row("03-04-2026")).unwrap_err().contains("set `dates`"));
    let day = all(Vendor::Libreview, Some(Order::DayFirst), &row("03-04-2026")).unwrap();
    let month = all(Vendor::Libreview, Some(Order::MonthFirst), &row("03-04-2026")).unwrap();
    assert_ne!(day, month);
    assert!(all(Vendor::Libreview, Some(Order::DayFirst), &row("03-24-2026")).unwrap_err().contains("month_first"));
}

#[test]
fn an_hour_that_came_twice_is_kept_with_its_text_and_its_records_are_told_apart_by_the_transmitters_clock() {
    let row = |ticks: u32| format!("7,2026-10-25T02:30:00,EGV,,,,phone,118,,,,,{ticks},X");
    let mut export = Export::new(Vendor::Clarity, None, TimeZone::get("Europe/Berlin").unwrap());
    export.look_for_header(CLARITY.as_bytes());
    let read = |ticks| export.read(row(ticks).as_bytes()).unwrap().unwrap();
    assert_eq!(read(1).samples[0].reading.local_text.as_deref(), Some("2026-10-25T02:30:00"));
    assert_ne!(read(1).identity, read(3_601).identity);
    let renumbered = export.read(row(1).replacen('7', "4711", 1).as_bytes()).unwrap().unwrap();
    assert_eq!(read(1).identity, renumbered.identity, "an index is a row's place in one export");
}

#[test]
fn english_columns_are_found_in_any_order() {
    let text = "Historic Glucose mmol/L,Record Type,Device Timestamp,Device,Serial Number\n5.4,0,2026-03-24 09:51,F,1";
    let found = all(Vendor::Libreview, None, text).unwrap();
    assert_eq!(found, ["source 1774342260000000 glucose [mmol/L] gauge 5.4 offset 60"]);
}
