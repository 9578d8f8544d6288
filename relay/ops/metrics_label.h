/* Names as values of labels. (metrics_label.c) */
#pragma once

#include "postern/buf.h"

#define LABEL_MAX 160u

/* Nothing of it may end the label, or be no UTF-8. Returns out. */
const char *metrics_label(char out[LABEL_MAX], struct slice s);
