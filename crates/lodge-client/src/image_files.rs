//! Calls about image files.

use lodge_api::{
    ImageChain, ImageCheck, ImageCompact, ImageConvert, ImageFileQuery, ImageMap, ImageResize, ImageSubject,
    Job, route,
};

use crate::Client;
use crate::calls::Answer;
use crate::wire::Call;

impl Client {
    /// What an image file is, and with `chain` all it stands on.
    pub async fn image_file(&self, query: &ImageFileQuery) -> Answer<ImageChain> {
        self.json(Call::post(route::IMAGE_FILE).json(query)).await
    }

    /// Where its bytes are.
    pub async fn map_image_file(&self, subject: &ImageSubject) -> Answer<ImageMap> {
        self.json(Call::post(route::IMAGE_FILE_MAP).json(subject)).await
    }

    /// Begins to check it; follow the job.
    pub async fn check_image_file(&self, check: &ImageCheck) -> Answer<Job> {
        self.json(Call::post(route::IMAGE_FILE_CHECK).json(check)).await
    }

    /// Begins to make another of it; follow the job.
    pub async fn convert_image_file(&self, convert: &ImageConvert) -> Answer<Job> {
        self.json(Call::post(route::IMAGE_FILE_CONVERT).json(convert)).await
    }

    /// Begins to give back its room; follow the job.
    pub async fn compact_image_file(&self, compact: &ImageCompact) -> Answer<Job> {
        self.json(Call::post(route::IMAGE_FILE_COMPACT).json(compact)).await
    }

    /// Begins to give it another size; follow the job.
    pub async fn resize_image_file(&self, resize: &ImageResize) -> Answer<Job> {
        self.json(Call::post(route::IMAGE_FILE_RESIZE).json(resize)).await
    }
}
