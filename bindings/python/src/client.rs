//! The client's core: what Python calls, and what it gets back.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ensign_protocol::openfeature::why;
use ensign_sdk::{
    Answer, Client, Config, Contact, Context, ErrorKind, Pairs, Record, Request, RequestStatus,
};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::context::{flat, owned};
use crate::value::to_python;

/// A client of one environment. `ensign.Client` is what people use.
#[pyclass(module = "ensign._ensign", frozen)]
pub(crate) struct Core {
    /// Swapped after a fork: the parent's thread does not exist in the child.
    client: ArcSwap<Client>,
}

/// One variant that was served: its value, why, and what a report of what happened is attributed by.
#[pyclass(module = "ensign._ensign", frozen)]
pub(crate) struct Variant {
    /// The value; the caller's default where there is none.
    #[pyo3(get)]
    value: Py<PyAny>,
    /// The variant's name; `None` where the default was given.
    #[pyo3(get)]
    name: Option<String>,
    /// The flag's key.
    #[pyo3(get)]
    flag: String,
    /// Why, in OpenFeature's words.
    #[pyo3(get)]
    reason: &'static str,
    /// OpenFeature's word for what went wrong; `None` if nothing did.
    #[pyo3(get)]
    error: Option<&'static str>,
    /// The revision of the flag's last change.
    #[pyo3(get)]
    version: Option<u64>,
    record: Option<Record>,
}

#[pymethods]
impl Variant {
    fn __repr__(&self) -> String {
        format!("Variant(flag={:?}, name={:?}, reason={:?})", self.flag, self.name, self.reason)
    }

    fn __str__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.value.bind(py).str()?.to_str()?.to_owned())
    }
}

fn started(config: Config) -> PyResult<Client> {
    Client::start(config).map_err(|why| PyValueError::new_err(why.to_string()))
}

fn seconds(length: f64) -> Duration {
    Duration::try_from_secs_f64(length.max(0.0)).unwrap_or(Duration::from_secs(3_600))
}

/// Calls with the context in its cheapest form.
fn with_context<T>(
    unit: Option<&str>,
    attributes: Option<&Bound<'_, PyDict>>,
    call: impl FnOnce(&dyn Evaluate) -> PyResult<T>,
) -> PyResult<T> {
    let Some(attributes) = attributes.filter(|dict| !dict.is_empty()) else {
        return match unit {
            Some(unit) => call(&Pairs::new(unit, &[])),
            None => call(&owned(None, None)?),
        };
    };
    if let Some(unit) = unit {
        let items: Vec<_> = attributes.iter().collect();
        if let Some(pairs) = flat(&items)? {
            return call(&Pairs::new(unit, &pairs));
        }
    }
    call(&owned(unit, Some(attributes))?)
}

/// An evaluation for a context of some form, and what is made of the answer.
trait Evaluate {
    fn value(
        &self,
        client: &Client,
        flag: &str,
        use_it: &mut dyn FnMut(&Answer<'_>) -> PyResult<()>,
    ) -> PyResult<()>;
    fn record(&self, answer: &Answer<'_>) -> Option<Record>;
}

impl<C: Context> Evaluate for C {
    fn value(
        &self,
        client: &Client,
        flag: &str,
        use_it: &mut dyn FnMut(&Answer<'_>) -> PyResult<()>,
    ) -> PyResult<()> {
        let reading = client.read();
        use_it(&reading.evaluate(flag, self))
    }
    fn record(&self, answer: &Answer<'_>) -> Option<Record> {
        answer.record(self)
    }
}

/// Reason and error in OpenFeature's words.
fn words(answer: &Answer<'_>) -> (&'static str, Option<&'static str>) {
    match why(&answer.evaluation(), || answer.depends_on_context()) {
        Ok(why) => (why.word(), None),
        Err(ErrorKind::FlagNotFound) if answer.snapshot().revision().is_none() => {
            ("ERROR", Some("PROVIDER_NOT_READY"))
        }
        Err(ErrorKind::FlagNotFound) => ("ERROR", Some("FLAG_NOT_FOUND")),
        Err(ErrorKind::MalformedFlag) => ("ERROR", Some("GENERAL")),
    }
}

fn status(word: &str) -> PyResult<RequestStatus> {
    RequestStatus::ALL
        .into_iter()
        .find(|status| serde_json::to_value(status).is_ok_and(|json| json == word))
        .ok_or_else(|| PyValueError::new_err(format!("{word:?} is not a status of a request")))
}

#[pymethods]
impl Core {
    #[new]
    #[pyo3(signature = (url, key, folder=None, queue=10_000, flush=0.2, exposures=true, on_change=None))]
    fn new(
        url: &str,
        key: &str,
        folder: Option<std::path::PathBuf>,
        queue: usize,
        flush: f64,
        exposures: bool,
        on_change: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let mut config = Config::new(url, key);
        config.folder = folder;
        config.queue = queue;
        config.flush = seconds(flush);
        config.exposures = exposures;
        if let Some(listener) = on_change {
            config = config.on_change(move |change| {
                Python::attach(|py| {
                    if let Err(raised) = listener.call1(py, (change.revision, change.flags.clone())) {
                        raised.write_unraisable(py, Some(listener.bind(py)));
                    }
                });
            });
        }
        Ok(Self { client: ArcSwap::from_pointee(started(config)?) })
    }

    /// The value alone: the fastest call.
    #[pyo3(signature = (flag, default, unit=None, context=None))]
    fn value<'py>(
        &self,
        py: Python<'py>,
        flag: &str,
        default: Bound<'py, PyAny>,
        unit: Option<&str>,
        context: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let client = self.client.load();
        with_context(unit, context, |context| {
            let mut value = None;
            context.value(&client, flag, &mut |answer| {
                value = answer.value().map(|value| to_python(py, value)).transpose()?;
                Ok(())
            })?;
            Ok(value.map_or(default, |value| value.into_bound(py)))
        })
    }

    /// The value with everything that is known about it.
    #[pyo3(signature = (flag, unit=None, context=None, default=None))]
    fn variant(
        &self,
        py: Python<'_>,
        flag: &str,
        unit: Option<&str>,
        context: Option<&Bound<'_, PyDict>>,
        default: Option<Py<PyAny>>,
    ) -> PyResult<Variant> {
        let client = self.client.load();
        with_context(unit, context, |context| {
            let mut variant = None;
            context.value(&client, flag, &mut |answer| {
                let (reason, error) = words(answer);
                let value = answer.value().map(|value| to_python(py, value)).transpose()?;
                variant = Some(Variant {
                    value: value
                        .or_else(|| default.as_ref().map(|it| it.clone_ref(py)))
                        .unwrap_or_else(|| py.None()),
                    name: answer.value().and(answer.variant()).map(str::to_owned),
                    flag: flag.to_owned(),
                    reason,
                    error,
                    version: answer.flag_version(),
                    record: context.record(answer),
                });
                Ok(())
            })?;
            variant.ok_or_else(|| PyRuntimeError::new_err("the evaluation gave nothing"))
        })
    }

    /// For the OpenFeature provider: value (or `None`), variant, reason, error, type, metadata.
    #[pyo3(signature = (flag, unit=None, context=None))]
    #[expect(clippy::type_complexity, reason = "a tuple is what Python unpacks fastest")]
    fn details<'py>(
        &self,
        py: Python<'py>,
        flag: &str,
        unit: Option<&str>,
        context: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<(
        Option<Py<PyAny>>,
        Option<Bound<'py, PyString>>,
        &'static str,
        Option<&'static str>,
        &'static str,
        Bound<'py, PyDict>,
    )> {
        let client = self.client.load();
        with_context(unit, context, |context| {
            let mut details = None;
            context.value(&client, flag, &mut |answer| {
                let (reason, error) = words(answer);
                let value = answer.value().map(|value| to_python(py, value)).transpose()?;
                let variant = answer.value().and(answer.variant()).map(|name| PyString::new(py, name));
                let kind = answer.value().map_or("none", |value| value.kind().word());
                let metadata = PyDict::new(py);
                if let Some(version) = answer.flag_version() {
                    metadata.set_item("version", version)?;
                }
                if let Some(revision) = answer.snapshot().revision() {
                    metadata.set_item("revision", revision)?;
                }
                if let Some(allocation) = answer.decision().allocation {
                    metadata.set_item("allocation", format!("{:016x}", allocation.0))?;
                    metadata.set_item("epoch", answer.decision().epoch)?;
                }
                details = Some((value, variant, reason, error, kind, metadata));
                Ok(())
            })?;
            details.ok_or_else(|| PyRuntimeError::new_err("the evaluation gave nothing"))
        })
    }

    /// The attribution token of a variant, or `None`.
    #[pyo3(signature = (variant, use_case=None))]
    fn token(&self, variant: &Bound<'_, Variant>, use_case: Option<&str>) -> Option<String> {
        self.client.load().token(variant.get().record.as_ref()?, use_case)
    }

    /// Notes how a request ended. Never waits.
    #[pyo3(signature = (variants, status, seconds, first_token=None, tokens_in=None, tokens_out=None, cost=None, use_case=None, model=None, id=None))]
    #[expect(clippy::too_many_arguments, reason = "they are named in Python")]
    fn request(
        &self,
        variants: Vec<Bound<'_, Variant>>,
        status: &str,
        seconds: f64,
        first_token: Option<f64>,
        tokens_in: Option<u32>,
        tokens_out: Option<u32>,
        cost: Option<f64>,
        use_case: Option<String>,
        model: Option<String>,
        id: Option<String>,
    ) -> PyResult<bool> {
        let mut request = Request::new(self::status(status)?, self::seconds(seconds));
        request.first_token = first_token.map(self::seconds);
        request.tokens_in = tokens_in;
        request.tokens_out = tokens_out;
        request.cost = cost;
        request.use_case = use_case;
        request.model = model;
        request.id = id;
        let records = variants.iter().filter_map(|variant| variant.get().record.clone()).collect();
        Ok(self.client.load().request(records, request))
    }

    /// Notes an outcome of variants: a boolean or a number. Never waits.
    fn outcome(
        &self,
        variants: Vec<Bound<'_, Variant>>,
        metric: &str,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let records: Vec<_> = variants.iter().filter_map(|variant| variant.get().record.clone()).collect();
        let client = self.client.load();
        match value.extract::<bool>() {
            Ok(flag) => Ok(client.outcome_is(records, metric, flag)),
            Err(_) => Ok(client.outcome(records, metric, value.extract()?)),
        }
    }

    /// Notes an outcome by an attribution token. Never waits.
    fn outcome_by_token(&self, token: &str, metric: &str, value: f64) -> bool {
        self.client.load().outcome_by_token(token, metric, value)
    }

    /// Waits for the first ruleset.
    fn wait_ready(&self, py: Python<'_>, timeout: f64) -> bool {
        let client = self.client.load_full();
        py.detach(|| client.wait_ready(seconds(timeout)))
    }

    /// Waits until everything noted so far is acknowledged.
    fn flush(&self, py: Python<'_>, timeout: f64) -> bool {
        let client = self.client.load_full();
        py.detach(|| client.flush_blocking(seconds(timeout)))
    }

    /// Flushes and ends the client's thread.
    fn close(&self, py: Python<'_>, timeout: f64) -> bool {
        let client = self.client.load_full();
        py.detach(|| client.close(seconds(timeout)))
    }

    /// Makes the client work in a forked child: its thread is started anew, with the ruleset it had on disk or gets.
    fn after_fork(&self) -> PyResult<()> {
        let old = self.client.load_full();
        let new = Client::forked(&old).map_err(|why| PyRuntimeError::new_err(why.to_string()))?;
        self.client.store(Arc::new(new));
        // The old one's locks may be held by a thread that no longer exists: it is never touched again.
        std::mem::forget(old);
        Ok(())
    }

    /// How well the server is heard: `never`, `current`, `lost`, `stale` or `refused`.
    #[getter]
    fn contact(&self) -> &'static str {
        match self.client.load().contact() {
            Contact::Never => "never",
            Contact::Current => "current",
            Contact::Lost { .. } => "lost",
            Contact::Stale { .. } => "stale",
            Contact::Refused { .. } => "refused",
        }
    }

    /// The revision that is served; `None` before the first.
    #[getter]
    fn revision(&self) -> Option<u64> {
        self.client.load().snapshot().revision()
    }

    /// What became of the notes so far.
    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = self.client.load().counts();
        let all = PyDict::new(py);
        for (name, count) in [
            ("noted", counts.noted),
            ("dropped", counts.dropped),
            ("acknowledged", counts.acknowledged),
            ("refused", counts.refused),
            ("failed_tries", counts.failed_tries),
        ] {
            all.set_item(name, count)?;
        }
        Ok(all)
    }

    /// What is wrong with single flags.
    #[getter]
    fn problems(&self) -> Vec<String> {
        self.client.load().snapshot().problems().to_vec()
    }
}
