//! `vestibule-load report` and `vestibule-load compare`: saved runs, shown again.
//!
//! Exit status: 0 if the ledger of every run is without violation, 1 if one is not, 2 if a file cannot
//! be read or written. It promises never to write over one of the results that it reads.

use super::{compared_html, compared_text, html, text};
use crate::result::{ResultError, RunResult};
use clap::Args;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Results that are compared at once.
pub const COMPARED_MAX: usize = 64;

/// `vestibule-load report`
#[derive(Debug, Args)]
pub struct Report {
    /// A run's result, as `--json` wrote it.
    #[arg(value_name = "FILE.json")]
    pub result: PathBuf,
    /// Writes a page to this file. It needs nothing but itself.
    #[arg(long, value_name = "FILE.html")]
    pub html: Option<PathBuf>,
}

/// `vestibule-load compare`
#[derive(Debug, Args)]
pub struct Compare {
    /// Results of runs, as `--json` wrote them. Ratios are to the first; runs with the same label
    /// are repetitions, and their median is compared.
    #[arg(value_name = "FILE.json", required = true, num_args = 2..=COMPARED_MAX)]
    pub results: Vec<PathBuf>,
    /// Writes a page to this file. It needs nothing but itself.
    #[arg(long, value_name = "FILE.html")]
    pub html: Option<PathBuf>,
}

/// Why nothing is shown. All are the operator's to mend.
#[derive(Debug)]
pub enum ReportError {
    /// A file is no result that can be read.
    Result(ResultError),
    /// The page cannot be written.
    Page(PathBuf, io::Error),
    /// The page would be written over a result.
    Overwrites(PathBuf),
    /// The text cannot be written.
    Output(io::Error),
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Result(error) => write!(f, "{error}"),
            Self::Page(path, error) => {
                write!(f, "the page {} cannot be written: {error}", path.display())
            }
            Self::Overwrites(path) => write!(
                f,
                "{} is a result that is read here, the page would overwrite it; name another file",
                path.display()
            ),
            Self::Output(error) => write!(f, "the text cannot be written: {error}"),
        }
    }
}

impl std::error::Error for ReportError {}

impl From<ResultError> for ReportError {
    fn from(error: ResultError) -> Self {
        Self::Result(error)
    }
}

/// Writes the page of a run, as the end of a run does for its own `--report`.
///
/// # Errors
/// The file cannot be written.
pub fn write_page(path: &Path, page: &str) -> Result<(), ReportError> {
    std::fs::write(path, page).map_err(|error| ReportError::Page(path.to_owned(), error))
}

/// `vestibule-load report`
#[must_use]
pub fn report(report: &Report) -> ExitCode {
    exit_code(reported(report))
}

fn reported(report: &Report) -> Result<bool, ReportError> {
    let result = RunResult::read(&report.result)?;
    let page = report.html.as_deref().map(|path| (path, html(&result)));
    show(&text(&result), page, std::slice::from_ref(&report.result))?;
    Ok(result.ledger.violations == 0)
}

/// `vestibule-load compare`
#[must_use]
pub fn compare(compare: &Compare) -> ExitCode {
    exit_code(compared(compare))
}

fn compared(compare: &Compare) -> Result<bool, ReportError> {
    let runs: Vec<RunResult> =
        compare.results.iter().map(|path| RunResult::read(path)).collect::<Result<_, _>>()?;
    let page = compare.html.as_deref().map(|path| (path, compared_html(&runs)));
    show(&compared_text(&runs), page, &compare.results)?;
    Ok(runs.iter().all(|run| run.ledger.violations == 0))
}

fn show(text: &str, page: Option<(&Path, String)>, read: &[PathBuf]) -> Result<(), ReportError> {
    if let Some((path, page)) = page {
        if read.iter().any(|result| is_same(result, path)) {
            return Err(ReportError::Overwrites(path.to_owned()));
        }
        write_page(path, &page)?;
    }
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        // Whoever reads has seen enough, as `head` has.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(ReportError::Output),
    }
}

/// Whether two paths lead to one file, by whatever names.
fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

fn exit_code(shown: Result<bool, ReportError>) -> ExitCode {
    match shown {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("vestibule-load: {error}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests say so by panicking")]
mod tests {
    use super::super::tests::samples::{busy, violated};
    use super::*;

    #[test]
    fn saved_runs_are_shown_again_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, run) in [("good.json", busy()), ("bad.json", violated())] {
            std::fs::write(path(name), run.json()).unwrap();
        }
        let report = |name: &str, page: Option<&str>| {
            reported(&Report { result: path(name), html: page.map(path) })
        };
        assert!(report("good.json", Some("good.html")).unwrap());
        assert_eq!(std::fs::read_to_string(path("good.html")).unwrap(), html(&busy()));
        assert!(!report("bad.json", None).unwrap());
        let both = Compare {
            results: vec![path("good.json"), path("bad.json")],
            html: Some(path("both.html")),
        };
        assert!(!compared(&both).unwrap());
        let runs = [busy(), violated()];
        assert_eq!(std::fs::read_to_string(path("both.html")).unwrap(), compared_html(&runs));
        let over = Compare { html: Some(path("../").join(path("bad.json"))), ..both };
        assert!(matches!(compared(&over), Err(ReportError::Overwrites(_))));
        assert_eq!(RunResult::read(&path("bad.json")).unwrap(), violated());
        let error = report("good.json", Some("no/folder.html")).unwrap_err().to_string();
        assert!(error.contains("folder.html cannot be written"), "{error}");
    }

    #[test]
    fn newer_and_damaged_files_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let result = folder.path().join("run.json");
        let json = busy().json();
        for (text, expected) in [
            (json.replacen("\"version\": 1", "\"version\": 2", 1), "has version 2 of the format"),
            (json.chars().take(5000).collect(), "is not what"),
            (String::new(), "is not what"),
        ] {
            std::fs::write(&result, text).unwrap();
            let report = Report { result: result.clone(), html: None };
            let error = reported(&report).unwrap_err().to_string();
            assert!(error.contains("run.json") && error.contains(expected), "{error}");
        }
    }
}
