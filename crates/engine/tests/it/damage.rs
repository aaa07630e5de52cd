//! Files that are wrong somewhere deep: in the meaning of a number, a shape, a type, a name or the weights themselves,
//! while every length and offset still adds up, so that our own look at the header lets most of them through. A process
//! of its own loads one after another and asks each for an answer; it must live through all of them.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use craton_engine::gguf::GgufHeader;
use craton_engine::{Engine, EngineConfig};

use crate::support::{answer, ask, model_path, small};

/// Environment of the child: the file to damage, and the first case.
const VICTIM: &str = "CRATON_TEST_DAMAGED_GGUF";
const FIRST: &str = "CRATON_TEST_DAMAGED_FIRST";
/// Cases to try; more than the usual to look for trouble.
const CASES: &str = "CRATON_TEST_DAMAGED_CASES";
const USUAL_CASES: u64 = 60;

fn cases() -> u64 {
    std::env::var(CASES).ok().and_then(|text| text.parse().ok()).unwrap_or(USUAL_CASES)
}

/// A metadata entry: where its key's text, its type and its value are.
struct Entry {
    key: String,
    key_at: u64,
    type_at: u64,
    value_type: u32,
    value_at: u64,
    value_bytes: u64,
}

/// A tensor's description: where its name's text, dimensions, type and offset are.
struct Tensor {
    name: String,
    name_at: u64,
    dimensions: Vec<u64>,
    dimensions_at: u64,
    type_at: u64,
    offset: u64,
    offset_at: u64,
}

struct Layout {
    entries: Vec<Entry>,
    tensors: Vec<Tensor>,
    data_at: u64,
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn u32(&mut self) -> u32 {
        self.at += 4;
        u32::from_le_bytes(self.bytes[self.at - 4..self.at].try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        self.at += 8;
        u64::from_le_bytes(self.bytes[self.at - 8..self.at].try_into().unwrap())
    }

    fn text(&mut self) -> String {
        let length = usize::try_from(self.u64()).unwrap();
        self.at += length;
        String::from_utf8(self.bytes[self.at - length..self.at].to_vec()).unwrap()
    }

    fn skip_value(&mut self, value_type: u32) {
        match value_type {
            0 | 1 | 7 => self.at += 1,
            2 | 3 => self.at += 2,
            4..=6 => self.at += 4,
            8 => drop(self.text()),
            9 => {
                let (element_type, length) = (self.u32(), self.u64());
                (0..length).for_each(|_| self.skip_value(element_type));
            }
            _ => self.at += 8,
        }
    }
}

/// Where everything is in a file that is whole.
fn layout(bytes: &[u8]) -> Layout {
    let mut walk = Walk { bytes, at: 8 };
    let (tensors, entries) = (walk.u64(), walk.u64());
    let at = |walk: &Walk<'_>| walk.at as u64;
    let entries = (0..entries).map(|_| {
        let key_at = at(&walk) + 8;
        let key = walk.text();
        let type_at = at(&walk);
        let value_type = walk.u32();
        let value_at = at(&walk);
        walk.skip_value(value_type);
        Entry { key, key_at, type_at, value_type, value_at, value_bytes: at(&walk) - value_at }
    });
    let entries = entries.collect();
    let tensors = (0..tensors).map(|_| {
        let name_at = at(&walk) + 8;
        let name = walk.text();
        let count = walk.u32();
        let dimensions_at = at(&walk);
        let dimensions = (0..count).map(|_| walk.u64()).collect();
        let type_at = at(&walk);
        walk.u32();
        let offset_at = at(&walk);
        Tensor { name, name_at, dimensions, dimensions_at, type_at, offset: walk.u64(), offset_at }
    });
    let tensors = tensors.collect();
    Layout { entries, tensors, data_at: at(&walk).next_multiple_of(32) }
}

/// Bytes to put at places of the file.
type Patches = Vec<(u64, Vec<u8>)>;

/// A small source of choices that are the same on every run.
struct Choices(u64);

impl Choices {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let index = self.below(of.len() as u64);
        &of[usize::try_from(index).unwrap()]
    }
}

impl Layout {
    /// What is wrong in one case, in words and in bytes.
    fn damage(&self, case: u64) -> (String, Patches) {
        let mut choices = Choices(case.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
        // Every kind in its turn, so that few cases already have all of them.
        match case % 10 {
            0..=2 => self.wrong_number(&mut choices),
            3 => self.wrong_type(&mut choices),
            4 => self.wrong_text(&mut choices),
            5 => self.wrong_vocabulary(&mut choices),
            6 => self.wrong_shape(&mut choices),
            7 => self.wrong_place(&mut choices),
            8 => self.wrong_tensor_name(&mut choices),
            _ => self.wrong_weights(&mut choices),
        }
    }

    fn wrong_number(&self, choices: &mut Choices) -> (String, Patches) {
        let numbers: Vec<&Entry> =
            self.entries.iter().filter(|entry| matches!(entry.value_type, 4..=6)).collect();
        let entry = choices.one(&numbers);
        let value = if entry.value_type == 6 {
            choices.one(&[f32::NAN, f32::INFINITY, 0.0, -1.0, 1e-30, 1e30, f32::MIN]).to_bits()
        } else {
            *choices.one(&[
                0,
                1,
                2,
                3,
                5,
                7,
                8,
                16,
                31,
                63,
                96,
                577,
                1024,
                4095,
                49_151,
                65_536,
                1 << 20,
                u32::MAX,
            ])
        };
        (format!("{} = {value:#x}", entry.key), vec![(entry.value_at, value.to_le_bytes().to_vec())])
    }

    fn wrong_type(&self, choices: &mut Choices) -> (String, Patches) {
        let numbers: Vec<&Entry> =
            self.entries.iter().filter(|entry| matches!(entry.value_type, 4..=6)).collect();
        let entry = choices.one(&numbers);
        let wrong = 4 + (entry.value_type - 4 + 1 + u32::try_from(choices.below(2)).unwrap()) % 3;
        (format!("{} of type {wrong}", entry.key), vec![(entry.type_at, wrong.to_le_bytes().to_vec())])
    }

    /// Another architecture with all its keys, another tokenizer, a key that nobody knows.
    fn wrong_text(&self, choices: &mut Choices) -> (String, Patches) {
        let find = |key: &str| self.entries.iter().find(|entry| entry.key == key).unwrap();
        match choices.below(4) {
            0 => {
                let other = choices
                    .one(&["qwen2", "gemma", "mamba", "bloom", "dream", "olmo2", "rwkv6", "grok1", "phi99"]);
                let named = |entry: &&Entry| entry.key.starts_with("llama.");
                let mut patches: Patches = self
                    .entries
                    .iter()
                    .filter(named)
                    .map(|entry| (entry.key_at, other.as_bytes()[..5].to_vec()))
                    .collect();
                patches.push((find("general.architecture").value_at + 8, other.as_bytes()[..5].to_vec()));
                (format!("architecture {other}"), patches)
            }
            1 => {
                let other = choices.one(&["bert", "rwkv", "none", "t5  ", "plm2", "llam"]);
                let at = find("tokenizer.ggml.model").value_at + 8;
                (format!("tokenizer {other}"), vec![(at, other.as_bytes().to_vec())])
            }
            2 => {
                let other = choices.one(&["qwen2\0", "falcon", "jina-x", "gpt-2\0", "tekken", "chameleon"]);
                let at = find("tokenizer.ggml.pre").value_at + 8;
                (format!("pre-tokenizer {other:?}"), vec![(at, other.as_bytes()[..6].to_vec())])
            }
            _ => {
                let entry = choices.one(&self.entries);
                let at = entry.key_at + choices.below(entry.key.len() as u64);
                (format!("{} misspelt", entry.key), vec![(at, b"#".to_vec())])
            }
        }
    }

    fn wrong_vocabulary(&self, choices: &mut Choices) -> (String, Patches) {
        let keys = [
            "tokenizer.ggml.token_type",
            "tokenizer.ggml.tokens",
            "tokenizer.ggml.merges",
            "tokenizer.chat_template",
        ];
        let key = *choices.one(&keys);
        let entry = self.entries.iter().find(|entry| entry.key == key).unwrap();
        let patches = match key {
            "tokenizer.ggml.token_type" => {
                let wrong = *choices.one(&[0_i32, 2, 3, 5, 6, 99, -1, i32::MAX]);
                let every = 1 + choices.below(50);
                let places = (entry.value_at + 12..entry.value_at + entry.value_bytes).step_by(4);
                let places = places.step_by(usize::try_from(every).unwrap());
                places.map(|at| (at, wrong.to_le_bytes().to_vec())).collect()
            }
            // Letters within the texts: bytes that are letters already, so that lengths stay what they are.
            _ => {
                let wrong = *choices.one(b"\xff\x00 a{%");
                (0..1 + choices.below(3000))
                    .map(|_| choices.below(entry.value_bytes))
                    .map(|at| (at, wrong))
                    .collect::<BTreeMap<_, _>>()
                    .into_iter()
                    .map(|(at, wrong)| (entry.value_at + at, vec![wrong]))
                    .collect()
            }
        };
        (format!("{key} damaged"), patches)
    }

    fn wrong_shape(&self, choices: &mut Choices) -> (String, Patches) {
        let tensor = choices.one(&self.tensors);
        let mut wrong = tensor.dimensions.clone();
        let what = choices.below(5);
        match what {
            0 => wrong.reverse(),
            1 => *wrong.last_mut().unwrap() /= 2,
            2 => *wrong.last_mut().unwrap() = 1,
            3 => wrong[0] = 32,
            _ => {
                let other = *choices.one(&[0_u32, 1, 2, 8, 10, 16, 24, 28, 30, 34, 39]);
                let patches = vec![(tensor.type_at, other.to_le_bytes().to_vec())];
                return (format!("{} of type {other}", tensor.name), patches);
            }
        }
        let bytes = wrong.iter().flat_map(|length| length.max(&1).to_le_bytes()).collect();
        (format!("{} {wrong:?}", tensor.name), vec![(tensor.dimensions_at, bytes)])
    }

    fn wrong_place(&self, choices: &mut Choices) -> (String, Patches) {
        let (tensor, other) = (choices.one(&self.tensors), choices.one(&self.tensors));
        let offset = *choices.one(&[other.offset, 0, tensor.offset / 64 * 32, other.offset + 32]);
        let patches = vec![(tensor.offset_at, offset.to_le_bytes().to_vec())];
        (format!("{} at {offset}", tensor.name), patches)
    }

    fn wrong_tensor_name(&self, choices: &mut Choices) -> (String, Patches) {
        let tensor = choices.one(&self.tensors);
        let alike: Vec<&Tensor> =
            self.tensors.iter().filter(|other| other.name.len() == tensor.name.len()).collect();
        let other = choices.one(&alike);
        if choices.below(2) == 0 && other.name != tensor.name {
            let patches = vec![
                (tensor.name_at, other.name.clone().into_bytes()),
                (other.name_at, tensor.name.clone().into_bytes()),
            ];
            return (format!("{} and {} changed about", tensor.name, other.name), patches);
        }
        let at = tensor.name_at + choices.below(tensor.name.len() as u64);
        (format!("{} misspelt", tensor.name), vec![(at, b"z".to_vec())])
    }

    fn wrong_weights(&self, choices: &mut Choices) -> (String, Patches) {
        let tensor = choices.one(&self.tensors);
        let wrong = choices.one(&[[0xff, 0xff, 0xff, 0x7f], [0, 0, 0x80, 0x7f], [0; 4], [0xff; 4]]);
        let bytes: Vec<u8> = wrong.iter().copied().cycle().take(2304).collect();
        (format!("weights of {} are {wrong:x?}", tensor.name), vec![(self.data_at + tensor.offset, bytes)])
    }
}

/// Run by the test below in a process of its own: loads damaged files one after another.
#[tokio::test]
async fn damaged_files_child() {
    let Some(path) = std::env::var_os(VICTIM).map(PathBuf::from) else { return };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let layout = layout(&std::fs::read(model_path()).unwrap());
    let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    for case in first..cases() {
        let (what, patches) = layout.damage(case);
        let mut undo = Vec::new();
        for (at, bytes) in patches {
            let mut old = vec![0; bytes.len()];
            file.read_exact_at(&mut old, at).unwrap();
            file.write_all_at(&bytes, at).unwrap();
            undo.push((at, old));
        }
        println!("\ncase {case} begins: {what}");
        let deep = GgufHeader::read(&path).is_ok();
        let engine = Engine::open(EngineConfig { kv_budget_mib: Some(8), ..small() });
        let outcome = answer(&engine.chat_model("bad", &path), ask("hi", 3)).await;
        let outcome = outcome.map_or_else(|error| error.to_string(), |_| "answered".to_owned());
        println!("\ncase {case} ends, {}: {outcome}", if deep { "deep" } else { "at the header" });
        drop(engine);
        for (at, old) in undo.into_iter().rev() {
            file.write_all_at(&old, at).unwrap();
        }
    }
    println!("\nall cases done");
}

/// The output of the child that goes on from this case, and whether it ended well.
fn child(victim: &Path, first: u64) -> (String, String) {
    std::fs::copy(model_path(), victim).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["damage::damaged_files_child", "--exact", "--nocapture"])
        .env(VICTIM, victim)
        .env(FIRST, first.to_string())
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&child.stderr);
    let complaint: Vec<&str> = complaint.lines().rev().take(6).collect();
    let end = format!("{}: {complaint:#?}", child.status);
    (String::from_utf8_lossy(&child.stdout).into_owned(), end)
}

/// Whatever is wrong with a file, loading it and asking it is refused or works: the process lives on.
#[test]
fn damaged_files_never_end_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("model.gguf");
    let (mut first, mut deep, mut deaths) = (0, 0, Vec::new());
    while first < cases() {
        let (said, end) = child(&victim, first);
        deep += said.lines().filter(|line| line.starts_with("case ") && line.contains(" ends, deep")).count();
        if std::env::var_os(CASES).is_some() {
            println!("{said}");
        }
        if said.contains("all cases done") {
            break;
        }
        let begun =
            said.lines().rev().find(|line| line.contains(" begins: ")).unwrap_or("case 0 begins: nothing");
        deaths.push(format!("{begun}\n{end}"));
        first = begun.split(' ').nth(1).unwrap().parse::<u64>().unwrap() + 1;
    }
    assert!(deaths.is_empty(), "{} deaths:\n{}", deaths.len(), deaths.join("\n"));
    assert!(deep as u64 * 2 > cases(), "only {deep} of {} cases got beyond the header", cases());
}
