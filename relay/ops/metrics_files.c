/* The configuration and its certificates as metrics. Called on HTTP's thread. */
#include <errno.h>
#include <stdlib.h>

#include "metrics_files.h"
#include "metrics_label.h"

static int put_reload(struct buf *out, const struct ops_files *f)
{
	return buf_printf(out,
		"# HELP postern_config_last_reload_success 1 while the configuration in force is "
		"that of the last reload, or of the start; 0: the reload failed, an older one "
		"stays.\n# TYPE postern_config_last_reload_success gauge\n"
		"postern_config_last_reload_success %d\n"
		"# HELP postern_config_last_reload_success_timestamp_seconds When the configuration "
		"in force was read.\n"
		"# TYPE postern_config_last_reload_success_timestamp_seconds gauge\n"
		"postern_config_last_reload_success_timestamp_seconds %.3f\n",
		!f->reload_failed, (double)f->reloaded / 1000);
}

static int put_certificates(struct buf *out, const struct ops_files *f)
{
	char listener[LABEL_MAX];
	int r = buf_add_str(out,
		"# HELP postern_tls_certificate_expiry_seconds When the first certificate of a "
		"listener's chain ends, since 1970.\n"
		"# TYPE postern_tls_certificate_expiry_seconds gauge\n");

	for (unsigned i = 0; i < f->ncertificates && !r; i++)
		r = buf_printf(out,
			"postern_tls_certificate_expiry_seconds{listener=\"%s\"} %.0f\n",
			metrics_label(listener, slice_of(f->certificates[i].listener)),
			(double)f->certificates[i].expires / 1000);
	return r;
}

int metrics_files(struct buf *out, const struct ops_context *ctx)
{
	struct ops_files *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	ctx->files(ctx->arg, f);
	r = put_reload(out, f);
	if (!r)
		r = put_certificates(out, f);
	free(f);
	return r;
}
