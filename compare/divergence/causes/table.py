# ruff: noqa: E501 (a row begins with its name, quantities, strength and sign)
"""The causes. Whoever wants to add one adds a row here, and its sign beside.

A row: the name; the quantities in which it is seen first; how strong its sign is; the
sign; what happened; how to confirm and mend it; the lesson that explains it; the case
of the clinic that shows it. Of equally strong causes the first row comes first.
"""

from __future__ import annotations

from . import batch, evaluation, loss, update
from .cause import LIKELY, POSSIBLE, PROVEN, ROUNDING, Cause

CAUSES = [
    Cause(
        *("closure-keeps-gradients", "loss, gradient", PROVEN, loss.gradients_kept),
        "Gradients are not cleared inside the closure: they add up over its calls.",
        "Call optimizer.zero_grad() as the first line of the closure.",
        *("closure", "closure-keeps-gradients"),
    ),
    Cause(
        *("step-without-backward", "loss", PROVEN, loss.no_backward),
        "One run takes a step without a backward before it: twice for one batch, say.",
        "Call optimizer.step() once for each batch, or after each window of batches.",
        *("train", "stepped-twice"),
    ),
    Cause(
        *("tied-weights", "loss, gradient, weights", PROVEN, loss.tied_weights),
        "Two layers share one weight in one run only.",
        "Print a.weight is b.weight. Copying, moving or wrapping a model, or loading"
        " each layer on its own, can untie them: tie them again afterwards.",
        *("transfer", "tie-lost"),
    ),
    Cause(
        *("one-call-against-several", "batch", PROVEN, batch.several_calls),
        "One run sends the rows through the model in one call, the other in several."
        " BatchNorm and dropout notice.",
        "Call the model once for each part in both runs, or join the parts in both.",
        *("train", "views-joined"),
    ),
    Cause(
        *("accumulation-window", "batch", PROVEN, batch.fewer_windows),
        "The runs take different numbers of batches before a step.",
        "Count the calls of the model and of backward per step. Lightning always steps"
        " on an epoch's last batch, even when the window is not full, and divides by"
        " accumulate_grad_batches all the same.",
        *("accumulation", "accumulation-carried-over"),
    ),
    Cause(
        *("state-carried", "batch, loss", PROVEN, batch.state_carried),
        "The model's state of the batch before is given to it in one run only.",
        "Print the hidden state at each call: who resets it, and when? Truncated"
        " backpropagation carries it from piece to piece, and detaches it.",
        *("train", "state-not-carried"),
    ),
    Cause(
        *("other-models-output", "batch", PROVEN, batch.other_model),
        "The batch is another model's output, made at another moment: before against"
        " after that model's update, say.",
        "Print at which step the input is made. Make it again after the update, or"
        " keep it, in both runs.",
        *("two_optimizers", "fakes-kept"),
    ),
    Cause(
        *("prefetched-batch", "batch, loss", PROVEN, loss.prefetched),
        "A Trainer fetches the next batch before the random numbers of this step are"
        " drawn, and the data draws from the same generator.",
        "Give the data a generator of its own, or the loader a length: a Trainer"
        " prefetches where it cannot know whether a batch is the last.",
        *("train", "batch-prefetched"),
    ),
    Cause(
        *("other-seed", "batch, loss", PROVEN, batch.other_seed),
        "The seeds differ.",
        "Print torch.initial_seed() in both runs, and seed NumPy and Python's random"
        " too. seed_everything() without an argument takes 0.",
        *("train", "seed-left-out"),
    ),
    Cause(
        *("batch-size", "batch", PROVEN, batch.batch_size),
        "The batch size differs.",
        "Print len(batch) of the first batch. With several devices, each takes a batch"
        " of its own: 2 devices x 32 is not 1 x 64.",
        *("train", "batch-size-changed"),
    ),
    Cause(
        *("drop-last", "batch", PROVEN, batch.drop_last),
        "One run uses the last, smaller batch of an epoch and the other drops it.",
        "Compare drop_last of the two loaders, and len(loader).",
        *("train", "last-batch-dropped"),
    ),
    Cause(
        *("sequence-length", "batch", PROVEN, batch.sequence_length),
        "The sequences have another length: cut, or padded, in one run only.",
        "Print the shape of the first batch. Lightning 2 ignores truncated_bptt_steps:"
        " cut the sequence yourself, in manual optimization.",
        *("train", "sequence-not-cut"),
    ),
    Cause(
        *("input-size", "batch", PROVEN, batch.input_size),
        "Each sample has another shape.",
        "Print the shape of the first batch: resizing, cropping, channels.",
        *("train", "input-resized"),
    ),
    Cause(
        *("other-dtype", "batch", PROVEN, batch.other_dtype),
        "The batches hold the same in another number format.",
        "Print batch.dtype.",
        *("precision", "input-in-another-dtype"),
    ),
    Cause(
        *("scaled-input", "batch", PROVEN, batch.preprocessing_linear),
        "The inputs are scaled or normalized otherwise.",
        "Print min, max, mean and std of one sample in both runs.",
        *("train", "normalization-forgotten"),
    ),
    Cause(
        *("epoch-kept-by-workers", "batch", PROVEN, batch.epoch_kept),
        "The data set is told the epoch, and its workers keep the first one.",
        "With persistent_workers=True the workers have a copy of the data set from the"
        " first epoch: leave them out, or seed each sample in the sampler.",
        *("train", "workers-keep-the-epoch"),
    ),
    Cause(
        *("order-repeats", "batch", LIKELY, batch.order_repeats),
        "The sampler gives the same order in every epoch: nobody calls set_epoch.",
        "Print the labels of the first batch of two epochs. A Trainer calls"
        " sampler.set_epoch(epoch) by itself; a loop must do it before each epoch.",
        *("distributed", "set-epoch-forgotten"),
    ),
    Cause(
        *("own-generator", "batch", LIKELY, batch.own_generator),
        "A shuffling loader has a generator of its own; one run draws from it more.",
        "Give both loaders a sampler whose order depends on seed + epoch alone. A loop"
        " that exhausts its RandomSampler draws once more; a Trainer stops before.",
        *("train", "generator-drawn-once-more"),
    ),
    Cause(
        *("drawn-between-epochs", "batch", LIKELY, batch.other_draws),
        "Something drew a random number between two epochs in one run only.",
        "Print torch.get_rng_state().sum() before and after what is done between"
        " epochs. A new loader iterator draws one number, so validating or not changes"
        " the order: give every loader a generator of its own.",
        *("train", "random-between-epochs"),
    ),
    Cause(
        *("not-shuffled", "batch", LIKELY, batch.not_shuffled),
        "Only one run shuffles.",
        "Look at shuffle= of both loaders. overfit_batches switches shuffling off; DDP"
        " switches it on for training.",
        *("debugging", "shuffle-forgotten"),
    ),
    Cause(
        *("sanity-pass", "batch, loss", LIKELY, batch.sanity_pass),
        "A pass over validation data before training drew random numbers.",
        "Leave the pass out, or save and restore the generator's state around it, as a"
        " Trainer's sanity check does.",
        *("train", "sanity-pass-draws"),
    ),
    Cause(
        *("drawn-before-first-batch", "batch", LIKELY, batch.drawn_first),
        "Something drew a random number before the first batch.",
        "Seed right before the loaders are used; print torch.get_rng_state().sum().",
        *("train", "random-before-loader"),
    ),
    Cause(
        *("drawn-in-loop", "batch, loss", LIKELY, batch.drawn_in_loop),
        "Something drew a random number between two steps in one run only.",
        "Print torch.get_rng_state().sum() before each forward. Dropout then drops"
        " others.",
        *("train", "random-in-loop"),
    ),
    Cause(
        *("rows-apart", "batch", PROVEN, batch.rows_apart),
        "The inputs of a batch no longer belong together: one is in another order.",
        "Print the first rows of all inputs. Shuffle them with one permutation.",
        *("train", "inputs-shuffled-apart"),
    ),
    Cause(
        *("other-order", "batch", LIKELY, batch.other_order),
        "The samples come in another order: another sampler, or a sampler's own seed.",
        "Compare list(loader.sampler)[:10] of the two runs.",
        *("train", "sampler-seed-differs"),
    ),
    Cause(
        *("augmentation", "batch", LIKELY, batch.augmentation),
        "Random augmentation draws other numbers: other workers, or another seed.",
        "Switch the augmentation off. If the batches are then the same, seed each"
        " sample by its index and epoch: draws then depend on no worker.",
        *("train", "augmentation-in-workers"),
    ),
    Cause(
        *("preprocessing", "batch", POSSIBLE, batch.preprocessing),
        "The data is prepared differently, or it is another data set.",
        "Print one sample in both runs, before and after each transform.",
        *("train", "other-data-set"),
    ),
    Cause(
        *("frozen-layers-mode", "mode", LIKELY, batch.frozen_layers_mode),
        "Some layers are in another mode than the rest, as in a frozen backbone.",
        "Print [n for n, m in model.named_modules() if m.training]. requires_grad=False"
        " freezes weights only: BatchNorm updates its statistics until eval().",
        *("transfer", "frozen-batchnorm-learns"),
    ),
    Cause(
        *("eval-before-fit", "mode", LIKELY, batch.eval_before_fit),
        "The model was put into eval mode before training, and stays in it.",
        "Print model.training right before the loop. A Trainer keeps the mode it is"
        " given: call model.train() before fit.",
        *("train", "eval-before-fit"),
    ),
    Cause(
        *("train-forgotten", "mode", LIKELY, batch.train_forgotten),
        "After an evaluation nobody calls model.train() again.",
        "Print model.training at the start of each epoch.",
        *("train", "train-forgotten"),
    ),
    Cause(
        *("compiled-dropout", "loss", PROVEN, loss.compiled_dropout),
        "torch.compile draws other random numbers for dropout.",
        "Compare in eval mode, or with dropout 0. The numbers are as random as before,"
        " but they are others: nothing can make these two runs the same.",
        *("compile", "compiled-dropout"),
    ),
    Cause(
        *(
            "other-layers",
            "loss, gradient, buffers, evaluation",
            PROVEN,
            loss.other_layers,
        ),
        "The models are built of different layers, or with other options.",
        "Print both models.",
        *("train", "dropout-rate-changed"),
    ),
    Cause(
        *("other-precision", "loss, gradient", PROVEN, loss.other_precision),
        "The runs calculate in different precision.",
        "Compare torch.autocast around the forward and the loss, precision= of the"
        " Trainer, and the dtype of the weights.",
        *("precision", "autocast-forgotten"),
    ),
    Cause(
        *("weights-not-loaded", "loss, gradient, weights", PROVEN, loss.not_loaded),
        "The weights differ from the start, though the generators agree: loaded in one"
        " run only, initialized otherwise, or made before the seed was set.",
        "Print what load_state_dict returns. With strict=False a prefix such as `model.`"
        " in the file's names silently makes it load nothing.",
        *("checkpoint", "prefix-loads-nothing"),
    ),
    Cause(
        *(
            "drawn-before-model",
            "loss, gradient, weights",
            PROVEN,
            loss.drawn_before_model,
        ),
        "Something drew a random number between the seed and the model.",
        "Seed right before the model is built. A random split, an example input or"
        " another model built first is enough.",
        *("train", "random-before-model"),
    ),
    Cause(
        *("softmax-twice", "loss", PROVEN, loss.softmax_twice),
        "The model ends in a softmax or sigmoid, and the loss has one of its own.",
        "Give cross_entropy and binary_cross_entropy_with_logits the scores themselves.",
        *("train", "softmax-twice"),
    ),
    Cause(
        *("other-loss-function", "loss", PROVEN, loss.other_loss),
        "Another loss function is called.",
        "Compare the two.",
        *("train", "loss-replaced"),
    ),
    Cause(
        *("shapes-broadcast", "loss", PROVEN, loss.shapes_broadcast),
        "Prediction and target have different shapes in one run, and are broadcast:"
        " each prediction meets every target.",
        "Give both the same shape: prediction.squeeze(1), or target.unsqueeze(1).",
        *("train", "shapes-broadcast"),
    ),
    Cause(
        *("targets-padded", "loss", PROVEN, loss.targets_padded),
        "Padding counts as a target in one run only.",
        "Set padded targets to ignore_index, which is -100 unless it is said.",
        *("train", "targets-padded"),
    ),
    Cause(
        *("token-mean", "loss", PROVEN, loss.token_mean),
        "Over accumulated batches, one run takes the mean of their means and the other"
        " the mean over all targets.",
        "Sum the losses, and divide by the number of targets in all batches of a step.",
        *("accumulation", "mean-of-means"),
    ),
    Cause(
        *("loss-not-divided", "loss", PROVEN, loss.not_divided),
        "Only one run divides the loss by the number of accumulated batches.",
        "Print the loss before and after the division. A Trainer always divides by"
        " accumulate_grad_batches.",
        *("accumulation", "accumulation-not-divided"),
    ),
    Cause(
        *("loss-reduction", "loss", PROVEN, loss.loss_reduction),
        "One loss is a mean and the other a sum.",
        "Look at reduction= of the loss.",
        *("train", "loss-summed"),
    ),
    Cause(
        *("loss-options", "loss", PROVEN, loss.loss_options),
        "The loss function has other options, or other weights of the classes.",
        "Print the loss, and its weight.",
        *("train", "label-smoothing-left-out"),
    ),
    Cause(
        *("loss-outside-autocast", "loss", PROVEN, loss.loss_outside_autocast),
        "Only one run calculates the loss itself under autocast.",
        "Move the loss into the torch.autocast block: a Trainer's covers both.",
        *("precision", "loss-outside-autocast"),
    ),
    Cause(
        *("other-target", "loss", PROVEN, loss.other_target),
        "The targets differ.",
        "Print the targets of the first batch.",
        *("train", "targets-shifted"),
    ),
    Cause(
        *("loss-scaled", "loss", PROVEN, loss.loss_scaled),
        "The loss function gives the same, and something is done to its result in one"
        " run only: it is weighted, divided, or a penalty is added.",
        "Print the loss right before backward.",
        *("train", "loss-weighted"),
    ),
    Cause(
        *("last-bits", "batch, loss, gradient, weights, buffers, evaluation", ROUNDING),
        evaluation.rounding,
        "The difference has the size of the last bits: it is rounding, not a mistake."
        " Sums are rounded otherwise in another order: with other threads, on another"
        " machine or kernel, fused or foreach, in TF32, compiled.",
        "Run both on one CPU with torch.set_num_threads(1). If they are the same there,"
        " compare within the last bits, over few steps: training amplifies them.",
        *("train", "last-bit-amplified"),
    ),
    Cause(
        *("drawn-after-model", "loss", LIKELY, loss.drawn_after_model),
        "The weights are the same, but the generators are not: something drew a random"
        " number between the model and the first forward.",
        "Print torch.get_rng_state().sum() right before the loop.",
        *("train", "random-after-model"),
    ),
    Cause(
        *("other-forward", "loss", LIKELY, loss.other_forward),
        "The forward calculates something else between its layers.",
        "Compare what the two forwards do beside calling layers: activations, masks,"
        " residuals, reshaping.",
        *("train", "activation-replaced"),
    ),
    Cause(
        *("other-loss-by-hand", "loss", LIKELY, loss.other_after),
        "The targets differ, or what is calculated after the model's last layer.",
        "Print the model's output, the targets and the loss of the first batch.",
        *("train", "loss-by-hand"),
    ),
    Cause(
        *("unseen-batch", "loss, gradient", POSSIBLE, loss.batch_unseen),
        "The batch was not seen, and may differ: the model is compiled in place, or"
        " inside a compiled function, or its forward is called by name.",
        "Compare without torch.compile, or print the batch.",
        *("compile", "batch-unseen"),
    ),
    Cause(
        *("weights-changed-outside", "loss, gradient", POSSIBLE, loss.changed_outside),
        "Weights, buffers or a state inside the model were changed between two steps,"
        " not by the optimizer; or the forward depends on the step.",
        "Compare a weight right after a step and before the next. Averaged weights"
        " (EMA, SWA) that are not swapped back do this, a checkpoint, or clamping.",
        *("averaging", "average-not-swapped-back"),
    ),
    Cause(
        *("epoch-length", "evaluation", LIKELY, evaluation.epoch_length),
        "An epoch is shorter in one run, and ends here.",
        "Compare len(loader), limit_train_batches, overfit_batches and drop_last.",
        *("debugging", "batches-limited"),
    ),
    Cause(
        *("evaluation-missing", "evaluation", LIKELY, evaluation.missing),
        "Only one run evaluates at this point.",
        "Compare when the two evaluate: every epoch, val_check_interval,"
        " check_val_every_n_epoch. An evaluation's loader may draw a random number,"
        " and so change what is trained next.",
        *("train", "validation-twice-an-epoch"),
    ),
    Cause(
        *("evaluation-share", "evaluation", LIKELY, evaluation.share),
        "The runs evaluate different numbers of batches.",
        "Compare len(loader), drop_last and limit_val_batches. Under DDP each process"
        " sees its share only, padded with duplicates to equal length.",
        *("distributed", "evaluation-sharded"),
    ),
    Cause(
        *("evaluation-order", "evaluation", PROVEN, evaluation.order),
        "The runs evaluate the same rows in another order.",
        "An evaluation's loader needs no shuffling: leave shuffle=True out.",
        *("evaluate", "evaluation-shuffled"),
    ),
    Cause(
        *("evaluation-data", "evaluation", LIKELY, evaluation.data),
        "The runs evaluate on different data.",
        "Compare the first sample of both.",
        *("evaluate", "evaluated-on-other-data"),
    ),
    Cause(
        *("evaluation-precision", "evaluation", PROVEN, evaluation.precision),
        "The runs evaluate in different precision.",
        "Put the evaluation under the same torch.autocast as the training, or neither.",
        *("precision", "evaluated-in-full-precision"),
    ),
    Cause(
        *("eval-forgotten", "evaluation", PROVEN, evaluation.eval_forgotten),
        "One run evaluates in train mode: model.eval() is missing.",
        "Print model.training inside the evaluation. Dropout stays on, and BatchNorm"
        " learns from the evaluation data.",
        *("train", "eval-forgotten"),
    ),
    Cause(
        *(
            "parameters-left-out",
            "gradient, weights",
            PROVEN,
            update.parameters_left_out,
        ),
        "The optimizers do not hold the same parameters.",
        "Compare the names given to the optimizers. One made before a layer was"
        " replaced updates the old layer.",
        *("transfer", "optimizer-before-new-head"),
    ),
    Cause(
        *("frozen", "gradient", PROVEN, update.frozen),
        "Parameters are frozen, or cut off from the loss, in one run only. A gradient"
        " that is None makes no step; one of zeros does: decay, momentum.",
        "Print [n for n, p in model.named_parameters() if p.grad is None] after"
        " backward. zero_grad(set_to_none=False) leaves zeros.",
        *("transfer", "first-layer-frozen"),
    ),
    Cause(
        *("clipped-before-unscaling", "gradient", PROVEN, update.scaled_gradient),
        "One run clips gradients that are still multiplied by the loss scale.",
        "Call scaler.unscale_(optimizer) before clip_grad_norm_.",
        *("precision", "clipped-before-unscaling"),
    ),
    Cause(
        *("clipped-by-norm", "gradient", PROVEN, update.clipped_by_norm),
        "Only one run clips the gradient by its norm, or they clip at other norms.",
        "Compare clip_grad_norm_ and gradient_clip_val; print the norm before clipping."
        " Clip between backward and step.",
        *("clipping", "clipping-forgotten"),
    ),
    Cause(
        *("gradient-factor", "gradient", LIKELY, update.gradient_factor),
        "The gradient is a multiple of the other: summed and not averaged, or scaled.",
        "Divide by the number of processes, or of accumulated batches; unscale before"
        " step.",
        *("distributed", "gradients-summed"),
    ),
    Cause(
        *("other-backward", "gradient", LIKELY, update.both_clip),
        "The same loss has another gradient, before both runs clip it: what the"
        " backward goes through differs.",
        "Compare the gradients right after backward. Look at detach(), frozen parts and"
        " terms that add nothing to the loss.",
        *("clipping", "detached-before-clipping"),
    ),
    Cause(
        *("zero-grad-forgotten", "gradient", LIKELY, update.zero_grad_forgotten),
        "One run does not clear the gradients: they add up over the steps.",
        "Print a gradient right before backward: it must be None or zero.",
        *("train", "zero-grad-forgotten"),
    ),
    Cause(
        *("gradient-changed", "gradient", POSSIBLE, update.gradient_changed),
        "Something changes the gradient between backward and step (clipping by value,"
        " say), or the backward goes through something else (detach).",
        "Compare the gradients right after backward. If they are the same there, look"
        " at what comes between; if not, at what the backward goes through.",
        *("clipping", "clipped-by-value"),
    ),
    Cause(
        *("scheduler-too-early", "learning rate", PROVEN, update.scheduler_too_early),
        "One run steps its scheduler earlier: before the optimizer or before the epoch.",
        "Call scheduler.step() after optimizer.step(), or at the end of the epoch.",
        *("schedule", "scheduler-before-optimizer"),
    ),
    Cause(
        *("other-learning-rate", "learning rate", PROVEN, update.other_learning_rate),
        "The learning rates differ from the start.",
        "Compare lr= of the optimizers and of their groups. A learning rate set in code"
        " loses to the one in a checkpoint that is loaded.",
        *("train", "learning-rate-default"),
    ),
    Cause(
        *(
            "scheduler-not-stepped",
            "learning rate",
            PROVEN,
            update.scheduler_not_stepped,
        ),
        "One run never steps its scheduler.",
        "Print the learning rate at each epoch. In manual optimization a Trainer steps"
        " no scheduler: call it yourself.",
        *("schedule", "manual-without-scheduler"),
    ),
    Cause(
        *("scheduler-interval", "learning rate", PROVEN, update.scheduler_more_often),
        "One run steps its scheduler after each step, the other after each epoch.",
        "Print the learning rate at each step. A Trainer's interval is the epoch, unless"
        ' configure_optimizers returns {"scheduler": ..., "interval": "step"}.',
        *("schedule", "scheduler-every-step"),
    ),
    Cause(
        *("other-schedule", "learning rate", LIKELY, update.other_schedule),
        "The schedules differ in their options.",
        "Print scheduler.state_dict() of both.",
        *("schedule", "schedule-decays-faster"),
    ),
    Cause(
        *("optimizer-state-lost", "weights", PROVEN, update.optimizer_state_lost),
        "The optimizer starts from nothing in one run, without the state it had.",
        "Save and load optimizer.state_dict() along with the weights; make the"
        " optimizer once, not in every epoch.",
        *("resume", "resumed-without-state"),
    ),
    Cause(
        *("optimizer-class", "weights", PROVEN, update.optimizer_class),
        "The optimizers are of different kinds.",
        "Compare their classes. Adam adds weight decay to the gradient, AdamW to the"
        " weights.",
        *("train", "adam-for-adamw"),
    ),
    Cause(
        *("weight-decay-groups", "weights", PROVEN, update.weight_decay_groups),
        "The weight decay differs for some parameters: norms and biases, say.",
        "Print weight_decay of each of optimizer.param_groups, and their parameters.",
        *("train", "decay-on-everything"),
    ),
    Cause(
        *("weight-decay", "weights", PROVEN, update.weight_decay),
        "The weight decay differs.",
        "Compare weight_decay= of the optimizers: AdamW's default is 0.01, Adam's 0.",
        *("train", "weight-decay-default"),
    ),
    Cause(
        *("optimizer-options", "weights", PROVEN, update.optimizer_options),
        "The optimizers have different options.",
        "Print both optimizers. Defaults differ between libraries: eps is 1e-8 in"
        " PyTorch and 1e-7 in Keras.",
        *("train", "eps-of-another-library"),
    ),
    Cause(
        *("update-changed", "weights", POSSIBLE, update.update_changed),
        "The weights are changed around the step: clamped, or from another state.",
        "Compare optimizer.state_dict() before the step, and the weights after it.",
        *("hooks", "weights-clamped"),
    ),
    Cause(
        *("batchnorm-statistics", "buffers, evaluation", LIKELY, update.statistics),
        "Running statistics differ: momentum, or what they were taken over, or what"
        " was loaded.",
        "Compare the buffers running_mean and running_var. Buffers are no parameters:"
        " an optimizer or a checkpoint of weights may skip them. A forward in train"
        " mode that is not trained on changes them too.",
        *("transfer", "buffers-not-loaded"),
    ),
    Cause(
        *("evaluated-other-weights", "evaluation", POSSIBLE, evaluation.other_weights),
        "One run evaluates other weights: averaged ones (EMA, SWA), or the best ones.",
        "Compare a weight inside the evaluation with the one the last step left.",
        *("averaging", "average-evaluated"),
    ),
    Cause(
        *("crashed", "length", PROVEN, evaluation.crashed),
        "The shorter run ended with an error or was killed.",
        "Look at the end of its log.",
        *("debugging", "batches-limited"),
    ),
    Cause(
        *("stopped-earlier", "length", LIKELY, evaluation.stopped_earlier),
        "One run is told to stop earlier, or a second fit did nothing.",
        "Compare max_epochs, max_steps, limit_train_batches, fast_dev_run, early"
        " stopping. A Trainer counts on over several calls of fit, so a second one may"
        " run no step.",
        *("early_stopping", "second-fit-does-nothing"),
    ),
    Cause(
        *("other-turn", "optimizer", PROVEN, evaluation.other_turn),
        "The optimizers take their steps in another order.",
        "Print which optimizer steps when: the generator's first, or the"
        " discriminator's? Take the order of the other run.",
        *("two_optimizers", "generator-first"),
    ),
    Cause(
        *("extra-optimizer", "optimizer", LIKELY, evaluation.extra_optimizer),
        "One run steps an optimizer that the other does not have.",
        "Print every optimizer's class and the names of its parameters.",
        *("two_optimizers", "second-optimizer-left-out"),
    ),
    Cause(
        *("other-machine", "loss, gradient, weights, evaluation", POSSIBLE),
        evaluation.other_machine,
        "The machines, the threads or the versions are not the same.",
        "Run both on one machine with torch.set_num_threads(1). Random numbers are"
        " others on another kind of device.",
        *("train", "last-bit-amplified"),
    ),
]
