//! Reloads that operators ask for (PRIV-3). Whoever may write the files is nobody the gateway knows; who
//! has them read is, and is written down. A change that widens what may be done is a security officer's
//! act, and either kind may need a second person, as the configuration in force says.
use super::acts::{Asked, How};
use super::change::{ChangeOut, DryRunOut, JudgedOut, MistakeOut, ReloadedOut, TrialOut, written};
use super::problem::Fault;
use super::service::{Call, Refusal};
use super::shape::{ActOut, Word};
use super::typed::{AgainBody, ReloadBody, case};
use crate::base::Name;
use crate::config::OperatorAct;
use crate::engine::{Again, Order, Outcome, Preview, Print, ReloadFault, Trigger, Why, Widening};

impl Call {
    pub(super) fn trial(&self) -> TrialOut {
        TrialOut::from(&self.state.engine.view_trial())
    }

    /// What the files would change; what is wrong with them is an answer as well.
    pub(super) async fn dry_run(&self) -> Result<DryRunOut, Fault> {
        let bare = DryRunOut {
            snapshot: self.live.snapshot.generation,
            outcome: "can-not".into(),
            print: None,
            change: None,
            act: None,
            mistakes: Vec::new(),
            warnings: Vec::new(),
            blocked: None,
            put_back: None,
        };
        let preview = match self.state.engine.preview_files().await {
            Ok(preview) => preview,
            Err(Why::Errors(errors)) => {
                return Ok(DryRunOut { mistakes: MistakeOut::all(&errors), ..bare });
            }
            Err(why) => return Err(fault(&why)),
        };
        let outcome = match (&preview.blocked, &preview.put_back) {
            (Some(_), _) => "can-not",
            (None, Some(_)) => "put-back-before",
            (None, None) => "can",
        };
        Ok(DryRunOut {
            snapshot: preview.generation,
            outcome: outcome.into(),
            print: Some(written(preview.print)),
            act: Some(act_of(&preview).as_str().into()),
            change: Some(ChangeOut::from(&preview.diff)),
            warnings: MistakeOut::some(&preview.warnings),
            blocked: preview.blocked.map(|fault| Word::of_configuration(fault.to_string())),
            put_back: preview.put_back.as_ref().map(JudgedOut::from),
            ..bare
        })
    }

    /// Looks first, because what the act is depends on what changes.
    pub(super) async fn reload(&self, body: &ReloadBody) -> Result<ActOut, Refusal> {
        let told = |fault: &Fault| self.refused("reload", *fault, None);
        let case = case(&body.case).inspect_err(told)?;
        let preview = self.state.engine.preview_files().await.map_err(|why| {
            let fault = fault(&why);
            self.state.engine.tell_of_refusal(&why);
            told(&fault);
            let mistakes = match &why {
                Why::Errors(errors) => MistakeOut::all(errors),
                _ => Vec::new(),
            };
            Refusal { mistakes, ..fault.into() }
        })?;
        if body.print.as_ref().is_some_and(|expected| *expected != written(preview.print)) {
            told(&Fault::Changed);
            return Err(Fault::Changed.into());
        }
        let again = match body.again {
            AgainBody::No => Again::No,
            AgainBody::Yes => Again::Yes,
        };
        let how = How::Reload { print: preview.print, again };
        let asked = Asked { act: act_of(&preview), subjects: Vec::new(), how, case };
        Ok(self.act(asked).await?)
    }

    /// `by` is who answers for it.
    pub(super) async fn apply(
        &self,
        act: OperatorAct,
        (print, again): (Print, Again),
        by: &Name,
    ) -> Result<ReloadedOut, Fault> {
        let widening = match act {
            OperatorAct::ReloadWidening => Widening::Allowed,
            _ => Widening::Refused,
        };
        let trigger = Trigger::Operator(by.clone());
        let order = Order { trigger, expect: Some(print), widening, again };
        match &*self.state.engine.reload_files(order).await {
            Outcome::Applied { generation, diff, warnings, took, until, held } => Ok(ReloadedOut {
                snapshot: *generation,
                took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                trial_until: Word::time(until.unix_ms()),
                change: ChangeOut::from(diff),
                warnings: MistakeOut::some(warnings),
                held: held.as_ref().map(JudgedOut::from),
            }),
            Outcome::Refused { why, .. } => Err(fault(why)),
        }
    }
}

const fn act_of(preview: &Preview) -> OperatorAct {
    if preview.diff.widens() { OperatorAct::ReloadWidening } else { OperatorAct::Reload }
}

const fn fault(why: &Why) -> Fault {
    match why {
        Why::NoFiles => Fault::NoFiles,
        Why::Errors(_) => Fault::Configuration,
        Why::Fault(ReloadFault::Fixed(_) | ReloadFault::Numbers) => Fault::RestartNeeded,
        Why::Fault(ReloadFault::Listeners(_)) => Fault::NotBound,
        Why::Fault(ReloadFault::Parting | ReloadFault::Stopping) => Fault::Leaving,
        Why::Fault(
            ReloadFault::Tls(_)
            | ReloadFault::Quotas(_)
            | ReloadFault::Keys(_)
            | ReloadFault::Random,
        ) => Fault::NotBuilt,
        Why::PutBack(_) => Fault::PutBack,
        // It has become an act of another kind.
        Why::Changed | Why::Widens => Fault::Changed,
        Why::Broken => Fault::Internal,
    }
}
