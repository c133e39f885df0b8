//! `rkt image list`.

use std::cmp::Ordering;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde::Serialize;

use crate::commands::Context;
use crate::commands::list::Format;
use crate::{images, report, show};

/// Arguments of `rkt image list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// comma-separated list of fields to display. Accepted values: "id", "name", "size", "importtime", "lastused"
    #[arg(long, value_delimiter = ',', default_value = "id,name,size,importtime,lastused")]
    fields: Vec<Field>,

    /// sort the output according to the provided comma-separated list of fields. Accepted values: "name",
    /// "importtime", "lastused", "size"
    #[arg(long, value_delimiter = ',', default_value = "importtime")]
    sort: Vec<SortField>,

    /// choose the sorting order if at least one sort field is provided (--sort). Accepted values: "asc", "desc"
    #[arg(long, default_value = "asc")]
    order: Order,

    /// suppress a legend with the list
    #[arg(long)]
    no_legend: bool,

    /// use long output format
    #[arg(long)]
    full: bool,

    /// choose the output format, allowed format includes 'json', 'json-pretty'. If empty, then the result is printed
    /// as key value pairs
    #[arg(long, default_value = "")]
    format: Format,
}

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    Name,
    Size,
    ImportTime,
    LastUsed,
}

/// What rows can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SortField(Field);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The key of the store.
    pub(crate) id: String,
    /// Name and version.
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) imported: SystemTime,
    pub(crate) used: SystemTime,
}

/// One image for programs. Field names are an interface; times are nanoseconds since 1970.
#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    name: &'a str,
    import_time: i64,
    last_used_time: i64,
    size: u64,
}

const FIELDS: [(&str, Field, &str); 5] = [
    ("id", Field::Id, "ID"),
    ("name", Field::Name, "NAME"),
    ("size", Field::Size, "SIZE"),
    ("importtime", Field::ImportTime, "IMPORT TIME"),
    ("lastused", Field::LastUsed, "LAST USED"),
];

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = FIELDS.iter().find(|(word, ..)| *word == text).map(|(_, field, _)| *field);
        found.ok_or_else(|| "must be one of id, name, size, importtime, lastused".to_owned())
    }
}

impl FromStr for SortField {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = text.parse().ok().filter(|field| *field != Field::Id).map(Self);
        found.ok_or_else(|| "must be one of name, importtime, lastused, size".to_owned())
    }
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "asc" => Ok(Self::Ascending),
            "desc" => Ok(Self::Descending),
            _ => Err("must be asc or desc".to_owned()),
        }
    }
}

pub(crate) fn run(context: &Context, args: &ListArgs) -> Result<ExitCode> {
    let mut rows = images::rows(context)?;
    sort(&mut rows, &args.sort, args.order);
    match args.format {
        Format::Text => report::print_raw(table(&rows, args))?,
        format => {
            let entries: Vec<Entry<'_>> = rows.iter().map(entry).collect();
            report::print(show::json(&entries, format == Format::JsonPretty)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn sort(rows: &mut [Row], by: &[SortField], order: Order) {
    rows.sort_by(|one, two| {
        let compare = |SortField(field): &SortField| match field {
            Field::Id => one.id.cmp(&two.id),
            Field::Name => one.name.cmp(&two.name),
            Field::Size => one.size.cmp(&two.size),
            Field::ImportTime => one.imported.cmp(&two.imported),
            Field::LastUsed => one.used.cmp(&two.used),
        };
        let ordering = by.iter().map(compare).find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal);
        match order {
            Order::Ascending => ordering,
            Order::Descending => ordering.reverse(),
        }
    });
}

fn table(rows: &[Row], args: &ListArgs) -> String {
    let mut text = String::new();
    let mut line = |cells: Vec<String>| {
        text.push_str(&cells.join("\t"));
        text.push('\n');
    };
    if !args.no_legend {
        let header =
            |field: &Field| FIELDS.iter().find(|(_, known, _)| known == field).map(|(.., text)| *text);
        line(args.fields.iter().filter_map(header).map(str::to_owned).collect());
    }
    for row in rows {
        line(args.fields.iter().map(|field| cell(row, *field, args.full)).collect());
    }
    show::align(&text)
}

/// How much of an ID is shown unless all is asked for: `sha512-` and 12 digits.
const SHORT_ID: usize = 19;

fn cell(row: &Row, field: Field, full: bool) -> String {
    let time = |time| if full { show::time_full(time) } else { show::time_ago(time) };
    match field {
        Field::Id if full => row.id.clone(),
        Field::Id => row.id.chars().take(SHORT_ID).collect(),
        Field::Name => row.name.clone(),
        Field::Size if full => row.size.to_string(),
        Field::Size => show::size(row.size),
        Field::ImportTime => time(row.imported),
        Field::LastUsed => time(row.used),
    }
}

fn entry(row: &Row) -> Entry<'_> {
    let nanoseconds = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos();
        i64::try_from(since).unwrap_or(i64::MAX)
    };
    Entry {
        id: &row.id,
        name: &row.name,
        import_time: nanoseconds(row.imported),
        last_used_time: nanoseconds(row.used),
        size: row.size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};

    fn args(flags: &[&str]) -> ListArgs {
        let command = ListArgs::augment_args(clap::Command::new("list"));
        let words = std::iter::once("list").chain(flags.iter().copied());
        ListArgs::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap()
    }

    fn rows() -> Vec<Row> {
        let row = |digit: &str, name: &str, size, minutes: u64| Row {
            id: format!("sha512-{}", digit.repeat(64)),
            name: name.to_owned(),
            size,
            imported: SystemTime::now() - Duration::from_secs(60 * minutes + 1),
            used: SystemTime::now() - Duration::from_secs(5 * minutes + 1),
        };
        vec![
            row("a", "coreos.com/etcd:v2.0.9", 12 << 20, 180),
            row("b", "example.com/a", 512, 60),
            row("c", "example.com/b", 1_717_986_918, 70),
        ]
    }

    fn shown(flags: &[&str]) -> String {
        let args = args(flags);
        let mut rows = rows();
        sort(&mut rows, &args.sort, args.order);
        table(&rows, &args)
    }

    #[test]
    fn the_table() {
        assert_eq!(
            shown(&[]),
            "ID\t\t\tNAME\t\t\tSIZE\tIMPORT TIME\tLAST USED\n\
             sha512-aaaaaaaaaaaa\tcoreos.com/etcd:v2.0.9\t12MiB\t3 hours ago\t15 minutes ago\n\
             sha512-cccccccccccc\texample.com/b\t\t1.6GiB\t1 hour ago\t5 minutes ago\n\
             sha512-bbbbbbbbbbbb\texample.com/a\t\t512B\t1 hour ago\t5 minutes ago\n"
        );
        assert_eq!(
            shown(&["--fields=name,size", "--sort=size", "--order=desc", "--no-legend", "--full"]),
            "example.com/b\t\t1717986918\ncoreos.com/etcd:v2.0.9\t12582912\nexample.com/a\t\t512\n"
        );
        assert_eq!(shown(&["--fields=id", "--full", "--no-legend"]).lines().next().unwrap().len(), 71);
    }

    #[test]
    fn for_programs() {
        let row = Row {
            id: "sha512-aa".to_owned(),
            name: "a:1".to_owned(),
            size: 7,
            imported: UNIX_EPOCH + Duration::from_millis(1500),
            used: UNIX_EPOCH + Duration::from_nanos(3),
        };
        assert_eq!(
            serde_json::to_string(&[entry(&row)]).unwrap(),
            r#"[{"id":"sha512-aa","name":"a:1","import_time":1500000000,"last_used_time":3,"size":7}]"#
        );
    }

    #[test]
    fn words_that_are_none() {
        assert!("Name".parse::<Field>().is_err());
        assert!("id".parse::<SortField>().is_err());
        assert!("up".parse::<Order>().is_err());
    }
}
