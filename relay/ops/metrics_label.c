/* Names of receivers and of the configuration as values of labels. Called by whoever renders
 * metrics. No state. */
#include "metrics_label.h"

const char *metrics_label(char out[LABEL_MAX], struct slice s)
{
	size_t n = 0;

	for (; n < s.n && n + 1 < LABEL_MAX; n++)
		out[n] = s.p[n] < ' ' || s.p[n] > '~' || s.p[n] == '"' || s.p[n] == '\\' ? '_'
											 : s.p[n];
	out[n] = '\0';
	return out;
}
