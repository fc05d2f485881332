//! Clones, templates and identities.

use lodge_api::{
    CloneSpec, IdentityAct, IdentityAudit, IdentityDiff, IdentityDiffQuery, IdentityLogQuery, IdentityReset,
    IdentityRule, IdentityView, ImageSysprep, Job, SysprepOperation, TemplateSpec, TemplateView, route,
};

use crate::Client;
use crate::calls::Answer;
use crate::wire::Call;

impl Client {
    /// Makes clones; the job's result is a `CloneReport`.
    pub async fn clone_guest(&self, spec: &CloneSpec) -> Answer<Job> {
        self.json(Call::post(route::CLONES).json(spec)).await
    }

    /// All versions of all templates.
    pub async fn templates(&self) -> Answer<Vec<TemplateView>> {
        self.json(Call::get(route::TEMPLATES)).await
    }

    /// One version of a template.
    pub async fn template(&self, template: &str) -> Answer<TemplateView> {
        self.json(Call::get(route::of(route::TEMPLATE, template))).await
    }

    /// Makes a template; the job's result is a `TemplateView`.
    pub async fn create_template(&self, spec: &TemplateSpec) -> Answer<Job> {
        self.json(Call::post(route::TEMPLATES).json(spec)).await
    }

    /// Removes a version of a template.
    pub async fn remove_template(&self, template: &str) -> Answer<()> {
        self.nothing(Call::delete(route::of(route::TEMPLATE, template))).await
    }

    /// What a machine is known by.
    pub async fn identity(&self, dom: &str) -> Answer<IdentityView> {
        self.json(Call::get(route::of(route::DOMAIN_IDENTITY, dom))).await
    }

    /// Gives a guest another identity; the job's result is an `IdentityAct`.
    pub async fn reset_identity(&self, dom: &str, wish: &IdentityReset) -> Answer<Job> {
        self.json(Call::post(route::of(route::IDENTITY_RESET, dom)).json(wish)).await
    }

    /// Takes the identity out of a machine on image files; the job's result is an `IdentityAct`.
    pub async fn sysprep_images(&self, wish: &ImageSysprep) -> Answer<Job> {
        self.json(Call::post(route::SYSPREP).json(wish)).await
    }

    /// Two machines beside each other.
    pub async fn identity_diff(&self, query: &IdentityDiffQuery) -> Answer<IdentityDiff> {
        self.json(Call::get(route::IDENTITY_DIFF).query(query)).await
    }

    /// What became of identities.
    pub async fn identity_log(&self, query: &IdentityLogQuery) -> Answer<Vec<IdentityAct>> {
        self.json(Call::get(route::IDENTITY_LOG).query(query)).await
    }

    /// Looks for what more than one machine has; the job's result is an `AuditReport`.
    pub async fn audit_identities(&self, audit: &IdentityAudit) -> Answer<Job> {
        self.json(Call::post(route::IDENTITY_AUDIT).json(audit)).await
    }

    /// The rules of the catalogue that are in force.
    pub async fn identity_rules(&self) -> Answer<Vec<IdentityRule>> {
        self.json(Call::get(route::IDENTITY_RULES)).await
    }

    /// What can be taken out of a guest.
    pub async fn sysprep_operations(&self) -> Answer<Vec<SysprepOperation>> {
        self.json(Call::get(route::SYSPREP_OPERATIONS)).await
    }
}
