// Every kernel in one GPU image: one file to build, ship and load.
#include "audio_features.cu"
#include "fingerprint.cu"
#include "image_prepare.cu"
#include "pillarize.cu"
#include "project_points.cu"
