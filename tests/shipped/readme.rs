//! The README: its commands and configurations work, its links and metric names exist.

use super::{check, path, text};
use serbroker::metrics::Metrics;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A fenced block: the word behind the fence and the text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            found.push((kind.to_owned(), body.join("\n") + "\n"));
        }
    }
    found
}

/// The commands of a page's shell blocks, one a line.
fn commands(page: &str) -> Vec<String> {
    let shell = blocks(page).into_iter().filter(|(kind, _)| kind == "sh");
    let lines = shell.flat_map(|(_, body)| body.lines().map(str::to_owned).collect::<Vec<_>>());
    lines.map(|line| line.split(" #").next().unwrap_or("").trim().to_owned()).collect()
}

#[test]
fn the_first_two_commands_are_the_demo_and_the_tests() {
    let commands = commands(&text("README.md"));
    assert_eq!(commands[..2], ["cargo run --release -- demo", "bash tests/run"]);
    assert!(serbroker::cli::parse(["serbroker", "demo"]).is_ok());
    for script in ["tests/run", ".ci/run"] {
        let mode = fs::metadata(path(script)).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script} is not executable");
    }
    assert!(text(".ci/run").lines().any(|line| line.ends_with("bash tests/run")), "CI runs something else");
}

#[test]
fn commands_with_serbroker_are_understood() {
    let mut tried = 0;
    for page in ["README.md", "CONTRIBUTING.md", "docs/compatibility.md"] {
        for command in commands(&text(page)) {
            let words: Vec<&str> = command.trim_start_matches("sudo ").split_whitespace().collect();
            if words.first() == Some(&"serbroker") {
                assert!(serbroker::cli::parse(words).is_ok(), "{page}: {command}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 2, "{tried}");
}

#[test]
fn configurations_in_the_text_load() {
    let dir = tempfile::tempdir().unwrap();
    let mut tried = 0;
    for page in ["README.md", "docs/compatibility.md"] {
        for (kind, body) in blocks(&text(page)) {
            let name = match kind.as_str() {
                "yaml" if body.contains("accepter:") => "block.yaml",
                "conf" => "block.conf",
                _ => continue,
            };
            let file = dir.path().join(name);
            fs::write(&file, body).unwrap();
            check(&file, 1);
            tried += 1;
        }
    }
    assert!(tried >= 2, "{tried}");
}

#[test]
fn metric_names_exist() {
    let metrics = Metrics::new().unwrap();
    let _port = metrics.port("x");
    let known = metrics.render().unwrap();
    let mut tried = 0;
    for page in ["README.md", "examples/prometheus/alerts.yml", "examples/prometheus/alerts_test.yml"] {
        let text = text(page);
        for (at, _) in text.match_indices("serbroker_") {
            let name: String =
                text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            assert!(known.contains(&format!("# TYPE {name} ")), "{page}: {name}");
            tried += 1;
        }
    }
    assert!(tried >= 6, "{tried}");
}

#[test]
fn links_lead_somewhere() {
    let mut tried = 0;
    for page in ["README.md", "CONTRIBUTING.md", "docs/compatibility.md", "docs/architecture.md"] {
        let text = text(page);
        let base = path(page);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(base.parent().unwrap().join(target).exists(), "{page}: {target}");
            tried += 1;
        }
    }
    assert!(tried > 10, "{tried}");
}

/// Words of the table of log lines and of the alert rules that the program really uses.
#[test]
fn every_reason_is_in_the_table() {
    use serbroker::metrics::{DeviceFailure, Refusal};
    let page = text("README.md");
    for reason in DeviceFailure::ALL.iter().map(|r| r.as_str()).chain(Refusal::ALL.iter().map(|r| r.as_str()))
    {
        assert!(page.contains(&format!("`{reason}`")), "{reason} is not explained");
    }
}
