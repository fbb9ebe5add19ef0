//! What the documents point to is there, and what the README shows of a configuration can be used.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nuncio::config::{Config, Sources};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Every document: path and text.
fn documents() -> BTreeMap<PathBuf, String> {
    let mut documents = BTreeMap::new();
    for folder in ["", "docs", "docs/monitoring"] {
        for entry in fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                documents.insert(path.clone(), fs::read_to_string(path).unwrap());
            }
        }
    }
    assert!(documents.len() > 15, "{:?}", documents.keys());
    documents
}

/// The lines of a text that are in no block of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fenced && !fence && !line.starts_with("    ")
    })
}

/// What a heading is called in a link, as the usual renderers make it.
fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let slug = |heading: &str| {
        let title = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(slug).collect()
}

/// What stands in `](…)`, without what is on the web.
fn links(text: &str) -> Vec<&str> {
    let pieces = prose(text).flat_map(|line| line.split("](").skip(1));
    pieces.filter_map(|piece| Some(piece.split_once(')')?.0)).filter(|link| !link.contains("://")).collect()
}

/// Of the documents that the package installs, each link is as good there as here.
#[test]
fn every_link_of_the_package_leads_to_a_file_that_is_in_it_too() {
    let manifest: toml::Table =
        fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).unwrap().parse().unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    // Where a file of the repository is installed.
    let installed = |file: &Path| {
        assets.iter().find_map(|asset| {
            let (from, to) = (asset[0].as_str().unwrap(), Path::new(asset[1].as_str().unwrap()));
            let (name, from) = (file.file_name().unwrap(), Path::new(from));
            let whole = from.file_name().unwrap().to_str().unwrap();
            let fits = whole == name
                || whole.strip_prefix('*').is_some_and(|end| name.to_str().unwrap().ends_with(end));
            (fits && from.parent() == file.parent()).then(|| to.join(name))
        })
    };
    let (mut followed, mut broken) = (0, Vec::new());
    for (path, text) in &documents() {
        let here = path.strip_prefix(ROOT).unwrap();
        let Some(there) = installed(here) else { continue };
        for link in links(text) {
            let file = link.split_once('#').map_or(link, |(file, _)| file);
            if file.is_empty() {
                continue;
            }
            followed += 1;
            let target = plain(&here.parent().unwrap().join(file));
            if installed(&target) != Some(plain(&there.parent().unwrap().join(file))) {
                broken.push(format!("{}: {link}", here.display()));
            }
        }
    }
    assert!(followed > 100, "{followed}");
    assert!(broken.is_empty(), "{broken:#?}");
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            std::path::Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
        plain
    })
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let documents = documents();
    let (mut followed, mut broken) = (0, Vec::new());
    for (path, text) in &documents {
        // A link may be wrapped, its address never.
        for link in links(text) {
            let (file, anchor) =
                link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let target = target.canonicalize().unwrap_or(target);
            let there = match anchor {
                None => target.exists(),
                Some(anchor) => {
                    documents.get(&target).is_some_and(|text| anchors(text).iter().any(|a| a == anchor))
                }
            };
            if !there {
                broken.push(format!("{}: {link}", path.display()));
            }
            followed += 1;
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(followed > 100, "only {followed} links");
}

#[test]
fn the_configuration_in_the_readme_can_be_used() {
    let text = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let blocks: Vec<&str> =
        text.split("```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let sources = Sources::new().toml("README.md", block).trusting_paths();
        match Config::load(&sources, &|_, _| Ok(())) {
            Ok((_, report)) if report.is_empty() => {}
            Ok((_, report)) | Err(report) => panic!("{report}in\n{block}"),
        }
    }
}
