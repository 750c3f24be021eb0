//! The shared dialect's SQL as PostgreSQL takes it.

use std::fmt::Write as _;

/// `?1` as `$1`, and a lone `?` as the next one.
pub(super) fn numbered(sql: &str) -> String {
    let mut parts = sql.split('?');
    let mut told = parts.next().unwrap_or_default().to_owned();
    for (place, part) in (1..).zip(parts) {
        told.push('$');
        if !part.starts_with(|next: char| next.is_ascii_digit()) {
            // Writing to a string does not fail.
            let _ = write!(told, "{place}");
        }
        told.push_str(part);
    }
    told
}

/// Whether a statement reads or changes the table `reading`, so that what was appended must be there before.
pub(super) fn needs_readings(sql: &str) -> bool {
    let mut words = sql.split(|other: char| !(other.is_ascii_alphanumeric() || other == '_')).filter(|w| !w.is_empty());
    let mut before = "";
    words.any(|word| {
        let is_table = word == "reading" && ["from", "join", "update", "into", "using"].contains(&before);
        before = word;
        is_table
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_as_postgresql_wants_them() {
        assert_eq!(numbered("select ?1, ?12 where ?1 = a"), "select $1, $12 where $1 = a");
        assert_eq!(numbered("delete from held where epoch = ?"), "delete from held where epoch = $1");
        assert_eq!(numbered("a = ? and b = ?"), "a = $1 and b = $2");
    }

    #[test]
    fn a_statement_about_the_table_of_readings_is_known_by_its_words() {
        assert!(needs_readings("select max(time_us) from reading where series = ?1"));
        assert!(needs_readings("select r.value from reading_origin o join reading r on r.id = o.reading"));
        assert!(needs_readings("update reading set time_us = ?2"));
        assert!(!needs_readings("insert into reading_origin (reading, tenant) values (?1, ?2)"));
        assert!(!needs_readings("select last_reading from feed"));
    }
}
