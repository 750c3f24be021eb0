//! Which metric of whom becomes which series.

use proto::{Kind, Series};

use super::births::{Born, Trouble};
use super::wire::{Metric, Payload};
use crate::source::BadSetting;
use crate::source::device::series;
use crate::source::fields::Field;
use crate::source::mqtt::mapping::TopicSettings;
use crate::source::mqtt::topics::{Filter, Template};

/// Nodes or devices that are read alike.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) filter: Filter,
    pub(super) alive: Option<(Template, Series)>,
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) metric: String,
    pub(super) name: Template,
    pub(super) field: Field,
}

/// What a birth says that is worth knowing later, by alias.
pub(super) fn born(topic: Option<&Topic>, payload: &Payload<'_>) -> Result<Vec<Born>, Trouble> {
    let mut all = Vec::new();
    for metric in &payload.metrics {
        let name = metric.name.ok_or_else(|| "has a metric without a name".to_owned())?;
        let entry = topic.and_then(|topic| topic.entries.iter().position(|entry| entry.metric == name));
        // What nobody looks for is known all the same, so that its alias is not taken for one that was never given.
        if topic.is_some() && (entry.is_some() || metric.alias.is_some()) {
            all.push(Born { alias: metric.alias, entry, datatype: metric.datatype.unwrap_or(0) });
        }
    }
    all.sort_by_key(|born| born.alias);
    if all.windows(2).any(|pair| pair[0].alias.is_some() && pair[0].alias == pair[1].alias) {
        return Err("gives one alias to two metrics".to_owned().into());
    }
    Ok(all)
}

impl Topic {
    /// Checks the settings.
    pub(super) fn new(settings: &TopicSettings, filter: Filter) -> Result<Self, BadSetting> {
        if !(2..=3).contains(&filter.len()) {
            return Err(BadSetting::new("filter", "is to be group/node or group/node/device, with `+` for any"));
        }
        if settings.time.is_some() {
            return Err(BadSetting::new("time", "has no place here: Sparkplug B says where times are"));
        }
        if settings.series.is_empty() && settings.alive.is_none() {
            return Err(BadSetting::new("series", "is empty; say which metrics are wanted"));
        }
        let captures = filter.captures();
        let alive = settings.alive.as_ref().map(|name| alive(name, captures)).transpose()?;
        let mut entries: Vec<Entry> = Vec::new();
        for (index, one) in settings.series.iter().enumerate() {
            let within = |error: BadSetting| error.within(&format!("series[{index}]"));
            if one.pointer.is_some() || one.required {
                let problem = "is for JSON; here it is `metric`, and nodes say only what changes";
                return Err(within(BadSetting::new("pointer", problem)));
            }
            let needed = || BadSetting::new("metric", "is needed, such as Inputs/Temperature");
            let metric = one.metric.clone().filter(|name| !name.is_empty()).ok_or_else(|| within(needed()))?;
            let (name, field) = (one.template(captures).map_err(within)?, one.field().map_err(within)?);
            if entries.iter().any(|other| other.name == name || other.metric == metric) {
                return Err(within(BadSetting::new("name", "or `metric` is there twice; each is one series")));
            }
            entries.push(Entry { metric, name, field });
        }
        Ok(Self { filter, alive, entries })
    }

    /// Which series a metric is, if any, and of which data type. Fails for one that its birth did not name.
    pub(super) fn place(&self, metric: &Metric<'_>, born: &[Born]) -> Result<Option<(usize, u32)>, &'static str> {
        let found = match (metric.alias, metric.name) {
            (Some(alias), _) => {
                let place = born.binary_search_by_key(&Some(alias), |born| born.alias);
                place.ok().map(|place| born[place]).ok_or("a metric's alias is not of its birth")?
            }
            (None, Some(name)) => {
                let Some(place) = self.entries.iter().position(|entry| entry.metric == name) else { return Ok(None) };
                let is_it = |born: &&Born| born.entry == Some(place);
                *born.iter().find(is_it).ok_or("a metric's name is not of its birth")?
            }
            (None, None) => return Err("a metric has neither name nor alias"),
        };
        Ok(found.entry.map(|entry| (entry, found.datatype)))
    }
}

fn alive(name: &str, captures: usize) -> Result<(Template, Series), BadSetting> {
    let bad = |problem: String| BadSetting::new("alive", problem);
    let template = Template::parse(name, captures).map_err(bad)?;
    let model = series("alive", "1", Kind::State);
    Ok((template, Series::clone(&model)))
}
